# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Peak memory of dry runs, and what they take by size. The largest tree has ten times the blobs of the large one; it is
# hollow (see examples/generate_registry.rs) and lies in memory, and only regsweep runs on it.

# by_size NAME FOLDER: times, of runs in a row, and the peak memory of as many runs of their own.
by_size() {
  local round
  timed "size.$1" 2 3 "$regsweep" gc --dry-run "$2"
  for ((round = 1; round <= rounds; round++)); do
    out=/dev/null measure "peak.$1" "$regsweep" gc --dry-run "$2"
  done
}

# hollow_folder: mounts memory at $work/huge, or says why not. A folder's limit of files would be too low elsewhere.
hollow_folder() {
  local wanted=12
  ((!quick)) || wanted=1
  if (($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) < wanted << 20)); then
    echo "it takes $wanted GiB of memory"
    return 1
  fi
  mkdir -p "$work/huge"
  mount -t tmpfs -o "size=${wanted}g,nr_inodes=0" tmpfs "$work/huge" 2>"$work/err" || {
    echo "only root may mount a tmpfs for it"
    return 1
  }
}

size_row() {
  local blobs
  blobs=$(of "$1" .tree.blobs)
  echo "| $(thousands "$(of "$1" .tree.repositories)")$2 | $(thousands "$blobs") | $(seconds "size.$1") |" \
    "$(compute "1000000 * $(median "size.$1") / $blobs" | sed 's/..$//') | $(mebibytes "peak.$1.memory") |"
}

part_memory() {
  local round size why="" a_blob=-
  plain_tree
  stock_config plain
  for size in "${smaller[@]}"; do generate "of-$size" --repositories "$size" "${plain[@]}"; done
  say "by size: ${smaller[*]} $repositories repositories, $rounds rounds"
  for size in "${smaller[@]}"; do
    check_ours_on "$work/of-$size" "of-$size" default
    by_size "of-$size" "$work/of-$size"
  done
  check_ours_on "$work/plain" plain default
  by_size plain "$work/plain"
  measure peak.stock docker-registry garbage-collect --dry-run "$work/plain.yml"
  check_stock "$work/out" plain default

  mounted+=("$work/huge")
  if why=$(hollow_folder); then
    say "generating hollow: $ten_times repositories"
    "$work/generate" "$work/huge/hollow" --repositories "$ten_times" "${plain[@]}" --hollow >"$work/hollow.json"
    check_ours_on "$work/huge/hollow" hollow default
    by_size hollow "$work/huge/hollow"
    unmount "$work/huge"
    a_blob=$(compute "1024 * ($(median peak.hollow.memory) - $(median peak.plain.memory)) /
      $(jq -n --slurpfile hollow "$work/hollow.json" --slurpfile plain "$work/plain.json" \
        '$hollow[0].tree.blobs - $plain[0].tree.blobs')")
  fi

  echo '| dry run, repositories | blobs | regsweep | microseconds a blob | peak memory |'
  echo '|--:|--:|--:|--:|--:|'
  for size in "${smaller[@]}"; do size_row "of-$size" ""; done
  size_row plain ""
  if [[ -z $why ]]; then size_row hollow " (hollow, in memory)"; else
    echo "| $(thousands "$ten_times") | | not measured: $why | | |"
  fi
  echo "| $(thousands "$repositories"), docker-registry | $(thousands "$(of plain .tree.blobs)") | | |" \
    "$(mebibytes peak.stock.memory) |"
  goals
  goal "peak memory, percent of docker-registry's" at_most 40 \
    "$(compute "100 * $(median peak.plain.memory) / $(median peak.stock.memory)")" "%"
  goal "peak memory that a blob more takes, of ten times as many" at_most 100 "$a_blob" bytes
  for size in "${smaller[@]}"; do drop_tree "of-$size"; done
  rm -f "$work/hollow.json"
}
