# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Reading the data: `check --read-data`, sha256sum on the same files by as many processes as there are cores, and the
# same files just read. With everything in memory, where the processor decides, and with nothing, where the disk does.

part_data() {
  local cores round cache tree=$work/to-read files
  cores=$(nproc)
  make_blobs "$tree"
  files=$work/data.files
  local bytes
  bytes=$(find "$tree" -name data -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
  # Each path with the digest that it has in its name, as sha256sum -c reads them: a list for each process.
  find "$tree" -name data -printf '%p\n' | awk -F/ '{ print $(NF - 1) "  " $0 }' >"$files"
  split -n "r/$((cores * 8))" "$files" "$work/data.list."
  "$regsweep" check --read-data --format json "$tree" >"$work/out"
  expect "regsweep, blobs that were read" "$(jq -r '.check.data | "\(.blobs) \(.bytes) \(.damaged)"' "$work/out")" \
    "$(wc -l <"$files") $bytes 0"
  # shellcheck disable=SC2016
  local -A commands=(
    [sha256sum]="find $work -maxdepth 1 -name 'data.list.*' | xargs -P $cores -n 1 sha256sum --quiet -c"
    [read]="awk '{ print \$2 }' $files | xargs -P $cores -n 16 cat >/dev/null"
  )
  for cache in warm cold; do
    if [[ $cache == cold ]] && ! can_drop_caches; then continue; fi
    prepare="cat \$(awk '{ print \$2 }' $files) >/dev/null"
    [[ $cache == warm ]] || prepare="sync; echo 3 >/proc/sys/vm/drop_caches"
    printf '%s\n' "$prepare" >"$work/prepare.sh"
    prepare="bash $work/prepare.sh"
    say "data: $rounds turns, $cache"
    for ((round = 1; round <= rounds; round++)); do
      timed "data.$cache.regsweep" 0 2 "$regsweep" check --quiet --read-data "$tree"
      for tool in sha256sum read; do
        timed "data.$cache.$tool" 0 2 bash -o pipefail -c "${commands[$tool]}"
      done
    done
    prepare=
  done
  echo "| $(thousands "$(wc -l <"$files")") blobs, $((bytes / 1000000)) MB | seconds | MB/s | / regsweep |"
  echo '|---|--:|--:|--:|'
  for cache in warm cold; do
    [[ -e $work/samples/data.$cache.regsweep ]] || { echo "| nothing in the cache | not measured (needs root) | | |" && continue; }
    local where="all in memory"
    [[ $cache == warm ]] || where="nothing in the cache"
    data_row "$cache" regsweep "\`regsweep check --read-data\`, $where" "$bytes"
    data_row "$cache" sha256sum "\`xargs -P $cores sha256sum -c\`, $where" "$bytes"
    data_row "$cache" read "\`xargs -P $cores cat\`, $where" "$bytes"
  done
  goals
  goal "\`sha256sum -c\` / regsweep, all in memory" at_least 1 "$(ratio data.warm.regsweep data.warm.sha256sum)"
  if [[ -e $work/samples/data.cold.regsweep ]]; then
    # Whichever is faster: the disk, or sha256sum.
    local faster=read
    awk -v a="$(median data.cold.read)" -v b="$(median data.cold.sha256sum)" 'BEGIN { exit !(b < a) }' && faster=sha256sum
    goal "regsweep / the faster of \`cat\` and \`sha256sum -c\`, nothing in the cache" at_most 1.1 \
      "$(ratio "data.cold.$faster" data.cold.regsweep)"
  fi
}

data_row() {
  local rate
  rate=$(awk -v bytes="$4" -v seconds="$(median "data.$1.$2")" 'BEGIN { printf "%d", bytes / 1000000 / seconds }')
  echo "| $3 | $(seconds "data.$1.$2") | $rate | $(ratio "data.$1.regsweep" "data.$1.$2") |"
}

can_drop_caches() { ((EUID == 0)) && [[ -w /proc/sys/vm/drop_caches ]]; }

# make_blobs FOLDER: a registry whose blobs are as large as layers are: a few that make up most of the bytes, and many
# small ones.
make_blobs() {
  local v2=$1/docker/registry/v2 size count made=0 scale=1
  ((!quick)) || scale=20
  say "making blobs to read"
  mkdir -p "$v2/repositories/app/_uploads" "$v2/blobs/sha256" "$work/made"
  for pair in 256M:2 64M:12 16M:24 1M:128 4K:3000; do
    size=${pair%:*} count=$(((${pair#*:} + scale - 1) / scale))
    ((!quick)) || size=${size/M/K}
    for ((made = 0; made < count; made++)); do head -c "$size" /dev/urandom >"$work/made/$size.$made"; done
  done
  sha256sum "$work"/made/* | while read -r hex file; do
    mkdir -p "$v2/blobs/sha256/${hex:0:2}/$hex"
    mv -- "$file" "$v2/blobs/sha256/${hex:0:2}/$hex/data"
  done
  sync -f "$work"
}
