# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Dry runs with everything in the cache. Each turn is several runs of one command in a row after warm-up runs: pages
# that nobody touches for half a minute may be gone on a virtual machine, so a tool that waits for the others comes back
# cold.

# warm NAME TREE default|delete_untagged
warm() {
  local name=$1 tree=$2 mode=$3 round option
  option=$(options "$mode")
  stock_config "$tree"
  check_ours_on "$work/$tree" "$tree" "$mode"
  check_stock_on "$work/$tree.yml" "$tree" "$mode"
  say "$tree ($mode): $rounds turns"
  for ((round = 1; round <= rounds; round++)); do
    timed "$name.ours" 2 5 "$regsweep" gc --dry-run ${option:+"$option"} "$work/$tree"
    timed "$name.stock" 1 2 docker-registry garbage-collect --dry-run ${option:+"$option"} "$work/$tree.yml"
    # It asks for other folders than the two, and takes several runs to have them all in the cache.
    [[ $mode != default ]] || timed "$name.find" 4 3 find "$work/$tree" -type f
  done
}

dry_row() {
  echo "| $2 | $(seconds "$1.ours") | $(seconds "$1.stock") | $(ratio "$1.ours" "$1.stock") |" \
    "$([[ ! -e $work/samples/$1.find ]] || seconds "$1.find") |" \
    "$([[ ! -e $work/samples/$1.find ]] || ratio "$1.ours" "$1.find") |"
}

cpu_row() {
  echo "| $2 | $(short "$(median "$1.ours.cpu")") s | $(short "$(median "$1.stock.cpu")") s |" \
    "$(ratio "$1.ours.cpu" "$1.stock.cpu") |" \
    "$([[ ! -e $work/samples/$1.find ]] || echo "$(short "$(median "$1.find.cpu")") s") |" \
    "$([[ ! -e $work/samples/$1.find ]] || ratio "$1.ours.cpu" "$1.find.cpu") |"
}

part_dry() {
  plain_tree
  generate mixed --repositories "$mixed_repositories" "${mixed[@]}"
  warm dry plain default
  warm dry_m plain delete_untagged
  warm dry_mixed mixed default
  tree_head
  tree_row plain "large"
  tree_row mixed "multi-arch"
  echo
  echo '| dry run, warm | regsweep | docker-registry | / regsweep | `find -type f` | / regsweep |'
  echo '|---|--:|--:|--:|--:|--:|'
  dry_row dry "large"
  dry_row dry_m 'large, `--delete-untagged`'
  dry_row dry_mixed "multi-arch"
  cpu_row dry "large, processor time"
  cpu_row dry_m 'large, `--delete-untagged`, processor time'
  goals
  goal "large: docker-registry / regsweep" at_least 20 "$(ratio dry.ours dry.stock)"
  goal 'large: `find -type f` / regsweep' at_least 6 "$(ratio dry.ours dry.find)"
  drop_tree mixed
}
