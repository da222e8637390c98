# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# System calls of one dry run, all threads together. No times: strace slows every call down.

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
  plain_tree
  stock_config plain
  if ! strace -f -c -o "$work/strace" true 2>"$work/err"; then
    echo "Not measured: \`strace\` is not allowed to trace here."
    return
  fi
  say "system calls"
  strace -f -c -o "$work/calls.ours" "$regsweep" gc --dry-run --format json "$work/plain" >"$work/out"
  check_ours "$work/out" garbage plain default
  strace -f -c -o "$work/calls.stock" docker-registry garbage-collect --dry-run "$work/plain.yml" \
    >"$work/out" 2>"$work/err"
  check_stock "$work/out" plain default
  strace -f -c -o "$work/calls.find" find "$work/plain" -type f >/dev/null
  blobs=$(of plain .tree.blobs)
  echo "| dry run, $(thousands "$blobs") blobs | system calls | a blob | most of them |"
  echo '|---|--:|--:|---|'
  for name in ours stock find; do
    echo "| ${names[$name]} | $(thousands "$(total "$work/calls.$name")") |" \
      "$(compute "$(total "$work/calls.$name") / $blobs" | sed 's/..$//') | $(top "$work/calls.$name") |"
  done
}
