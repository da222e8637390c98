# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# What it takes to print every object that would go, beside a summary of them. The output goes to /dev/null.

part_output() {
  local round name runs=(summary json verbose)
  local -A with=([summary]="" [json]="--format json" [verbose]="-v")
  plain_tree
  check_ours_on "$work/plain" plain delete_untagged
  local actions bytes
  actions=$(jq '.actions | length' "$work/out")
  bytes=$(stat -c %s "$work/out")
  say "output: $rounds turns"
  for ((round = 1; round <= rounds; round++)); do
    for name in "${runs[@]}"; do
      # shellcheck disable=SC2086 # options are words
      timed "output.$name" 2 3 "$regsweep" gc --dry-run --delete-untagged ${with[$name]} "$work/plain"
      # shellcheck disable=SC2086
      out=/dev/null measure "output-peak.$name" "$regsweep" gc --dry-run --delete-untagged ${with[$name]} "$work/plain"
    done
  done
  echo "| dry run, \`--delete-untagged\`, $(thousands "$actions") actions | seconds | / summary | peak memory | / summary |"
  echo '|---|--:|--:|--:|--:|'
  output_row summary "summary"
  output_row json "\`--format json\` ($((bytes / 1000000)) MB)"
  output_row verbose '`-v`'
  goals
  for name in json verbose; do
    goal "\`${with[$name]}\` / summary, time" at_most 1.5 "$(ratio output.summary "output.$name")"
    goal "\`${with[$name]}\` / summary, peak memory" at_most 1.5 \
      "$(ratio output-peak.summary.memory "output-peak.$name.memory")"
  done
}

output_row() {
  echo "| $2 | $(seconds "output.$1") | $(ratio output.summary "output.$1") |" \
    "$(mebibytes "output-peak.$1.memory") | $(ratio output-peak.summary.memory "output-peak.$1.memory") |"
}
