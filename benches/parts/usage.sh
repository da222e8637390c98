# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Where the bytes are, beside what the system's own du takes to sum up the same blobs. Warm, as in dry.sh.

part_usage() {
  local round found wanted
  plain_tree
  "$regsweep" du --format json "$work/plain" >"$work/out"
  found=$(jq -r '.store | [.blobs.count, .garbage.count, .garbage.bytes] | @tsv' "$work/out")
  wanted=$(of plain '[.tree.blobs, .default.blobs.count, .default.blobs.bytes] | @tsv')
  expect "regsweep du (blobs, garbage, its bytes)" "$found" "$wanted"
  # Of the files: the system's du counts folders as well.
  found=$(jq -r '.store.blobs.bytes' "$work/out")
  wanted=$(find "$work/plain/docker/registry/v2/blobs" -name data -printf '%s\n' |
    awk '{ sum += $1 } END { print sum }')
  expect "regsweep du, all bytes" "$found" "$wanted"
  say "usage: $rounds turns"
  for ((round = 1; round <= rounds; round++)); do
    timed usage.ours 2 5 "$regsweep" du "$work/plain"
    timed usage.dry 2 5 "$regsweep" gc --dry-run "$work/plain"
    timed usage.du 4 3 du -s --apparent-size "$work/plain/docker/registry/v2/blobs"
  done
  measure usage-peak.ours "$regsweep" du "$work/plain"
  measure usage-peak.dry "$regsweep" gc --dry-run "$work/plain"
  measure usage-peak.du du -s --apparent-size "$work/plain/docker/registry/v2/blobs"
  echo "| $(thousands "$(of plain .tree.blobs)") blobs, warm | seconds | / \`regsweep du\` | processor time |" \
    "peak memory |"
  echo '|---|--:|--:|--:|--:|'
  usage_row ours '`regsweep du`'
  usage_row dry '`regsweep gc --dry-run`'
  usage_row du '`du -s --apparent-size` of the blobs'
  goals
  goal '`du -s` / `regsweep du`' at_least 1 "$(ratio usage.ours usage.du)"
}

usage_row() {
  echo "| $2 | $(seconds "usage.$1") | $(ratio usage.ours "usage.$1") | $(short "$(median "usage.$1.cpu")") s |" \
    "$(mebibytes "usage-peak.$1.memory") |"
}
