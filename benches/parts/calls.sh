# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# System calls of one dry run, all threads together, on a tree as small as that for the slow volume. No times: strace
# slows every call down.

# top FILE: the five most frequent calls.
top() {
  awk '$NF != "total" && $4 ~ /^[0-9]+$/ { print $4, $NF }' "$1" | sort -rn |
    head -n 5 | awk '{ printf "%s`%s` %d", (NR > 1 ? ", " : ""), $2, $1 }'
}
total() { awk '$NF == "total" { print $4 }' "$1"; }

part_calls() {
  local name blobs
  local -A names=([ours]=regsweep [stock]=docker-registry [find]='`find -type f`')
  if ! has strace; then
    echo "Not measured: \`strace\` is missing."
    return
  fi
  slow_tree calls
  stock_config calls
  if ! strace -f -c -o "$work/strace" true 2>"$work/err"; then
    echo "Not measured: \`strace\` is not allowed to trace here."
    return
  fi
  say "system calls"
  strace -f -c -o "$work/strace.ours" "$regsweep" gc --dry-run --format json "$work/calls" >"$work/out"
  check_ours "$work/out" garbage calls default
  strace -f -c -o "$work/strace.stock" docker-registry garbage-collect --dry-run "$work/calls.yml" \
    >"$work/out" 2>"$work/err"
  check_stock "$work/out" calls default
  strace -f -c -o "$work/strace.find" find "$work/calls" -type f >/dev/null
  blobs=$(of calls .tree.blobs)
  echo "| dry run, $(thousands "$blobs") blobs | system calls | a blob | most of them |"
  echo '|---|--:|--:|---|'
  for name in ours stock find; do
    echo "| ${names[$name]} | $(thousands "$(total "$work/strace.$name")") |" \
      "$(compute "$(total "$work/strace.$name") / $blobs" | sed 's/..$//') | $(top "$work/strace.$name") |"
  done
  drop_tree calls
}
