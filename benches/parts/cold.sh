# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Dry runs with nothing in the page cache and no names and attributes in the kernel's other caches. What the disk, or
# the host of a virtual machine, keeps in its own cache is beyond reach.

part_cold() {
  local round drop='sh -c "sync; echo 3 >/proc/sys/vm/drop_caches"'
  if ! sh -c 'echo 3 >/proc/sys/vm/drop_caches' 2>/dev/null; then
    echo "Not measured: only root may empty the caches (\`/proc/sys/vm/drop_caches\`)."
    goals
    goal "docker-registry / regsweep" at_least 12 -
    return
  fi
  plain_tree
  stock_config plain
  check_ours_on "$work/plain" plain default
  check_stock_on "$work/plain.yml" plain default
  say "cold runs: $rounds turns"
  for ((round = 1; round <= rounds; round++)); do
    prepare=$drop timed cold.ours 0 2 "$regsweep" gc --dry-run "$work/plain"
    prepare=$drop timed cold.stock 0 1 docker-registry garbage-collect --dry-run "$work/plain.yml"
    ((round > 1)) || prepare=$drop timed cold.find 0 1 find "$work/plain" -type f
  done
  echo '| dry run, cold | regsweep | docker-registry | / regsweep | `find -type f` | / regsweep |'
  echo '|---|--:|--:|--:|--:|--:|'
  echo "| $(thousands "$(of plain .tree.blobs)") blobs | $(seconds cold.ours) | $(seconds cold.stock) |" \
    "$(ratio cold.ours cold.stock) | $(seconds cold.find) | $(ratio cold.ours cold.find) |"
  goals
  goal "docker-registry / regsweep" at_least 12 "$(ratio cold.ours cold.stock)"
}
