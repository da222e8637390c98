# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Peak memory of dry runs, beside docker-registry's and by size, and what they take by size. The trees of several sizes,
# up to ten times the large one, are hollow (see examples/generate_registry.rs) and lie in memory, where they are made
# in seconds; only regsweep runs on them.

# peak NAME FOLDER
peak() {
  local round
  for ((round = 1; round <= rounds; round++)); do
    out=/dev/null measure "peak.$1" "$regsweep" gc --dry-run "$2"
  done
}

# mount_memory: at $work/sizes, or says why not. /dev/shm has a limit of files that is too low.
mount_memory() {
  local gibibytes=12
  ((!quick)) || gibibytes=1
  if (($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) < gibibytes << 20)); then
    echo "it takes $gibibytes GiB of memory"
    return 1
  fi
  mount -t tmpfs -o "size=${gibibytes}g,nr_inodes=0" tmpfs "$work/sizes" 2>"$work/err" || {
    echo "only root may mount a tmpfs for it"
    return 1
  }
}

size_row() {
  local blobs
  blobs=$(of "sizes/$1" .tree.blobs)
  echo "| $(thousands "$1") | $(thousands "$blobs") | $(seconds "size.$1") |" \
    "$(short "$(compute "1000000 * $(median "size.$1") / $blobs")") | $(mebibytes "peak.$1.memory") |"
}

part_memory() {
  local round size why="" a_blob=- blobs
  local sizes=("${smaller[@]}" "$repositories" "$ten_times")
  plain_tree
  stock_config plain
  check_ours_on "$work/plain" plain default
  peak plain "$work/plain"
  measure peak.stock docker-registry garbage-collect --dry-run "$work/plain.yml"
  check_stock "$work/out" plain default

  # Without it, those that are not too large lie on the disk.
  mkdir "$work/sizes"
  mounted+=("$work/sizes")
  why=$(mount_memory) || sizes=("${smaller[@]}" "$repositories")
  for size in "${sizes[@]}"; do
    generate "sizes/$size" --repositories "$size" "${plain[@]}" --hollow
    check_ours_on "$work/sizes/$size" "sizes/$size" default
  done
  say "by size: ${sizes[*]} repositories, $rounds rounds"
  for ((round = 1; round <= rounds; round++)); do
    for size in "${sizes[@]}"; do timed "size.$size" 2 3 "$regsweep" gc --dry-run "$work/sizes/$size"; done
  done
  for size in "${sizes[@]}"; do peak "$size" "$work/sizes/$size"; done

  blobs=$(thousands "$(of plain .tree.blobs)")
  echo "| dry run, $blobs blobs | peak memory |"
  echo '|---|--:|'
  echo "| regsweep | $(mebibytes peak.plain.memory) |"
  echo "| docker-registry | $(mebibytes peak.stock.memory) |"
  echo
  echo '| repositories (hollow) | blobs | regsweep | microseconds a blob | peak memory |'
  echo '|--:|--:|--:|--:|--:|'
  for size in "${sizes[@]}"; do size_row "$size"; done
  [[ -z $why ]] || echo "| $(thousands "$ten_times") | | not measured: $why | | |"
  if [[ -z $why ]]; then
    a_blob=$(compute "1024 * ($(median "peak.$ten_times.memory") - $(median "peak.$repositories.memory")) /
      ($(of "sizes/$ten_times" .tree.blobs) - $(of "sizes/$repositories" .tree.blobs))")
  fi
  goals
  goal "peak memory, percent of docker-registry's" at_most 40 \
    "$(compute "100 * $(median peak.plain.memory) / $(median peak.stock.memory)")" "%"
  goal "peak memory that a blob more takes, of ten times as many" at_most 100 "$a_blob" bytes
  unmount "$work/sizes"
  rm -rf -- "$work/sizes"
}
