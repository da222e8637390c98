# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# One repository with thousands of tags, `--delete-untagged`: where a collector that reads all tags again for each
# revision takes the square of their number.

# one_tree TAGS: 2.8 revisions to a tag.
one_tree() { generate "one-$1" "${one[@]}" --tags "$1" --untagged $(($1 * 9 / 5)); }

# each TAGS: microseconds for each tag and revision.
each() {
  compute "1000000 * $(median "one.$1") / $(of "one-$1" '.tree.tags + .tree.revisions')"
}

part_one() {
  local count round ended=0 stock began steepest
  for count in "${more_tags[@]}"; do
    one_tree "$count"
    check_ours_on "$work/one-$count" "one-$count" delete_untagged
  done
  say "one repository: ${more_tags[*]} tags, $rounds turns"
  for ((round = 1; round <= rounds; round++)); do
    for count in "${more_tags[@]}"; do
      timed "one.$count" 3 5 "$regsweep" gc --dry-run --delete-untagged "$work/one-$count"
    done
  done

  say "docker-registry, for $patience s at most"
  stock_config "one-$tags"
  began=$EPOCHREALTIME
  timeout "$patience" docker-registry garbage-collect --dry-run --delete-untagged "$work/one-$tags.yml" \
    >"$work/out" 2>"$work/err" || ended=$?
  case $ended in
    0)
      note one.stock "$(compute "$EPOCHREALTIME - $began")"
      check_stock "$work/out" "one-$tags" delete_untagged
      stock=$(seconds one.stock)
      ;;
    124) stock="> $patience s" ;;
    *) fail "docker-registry failed: $(tail -n 1 "$work/err")" ;;
  esac

  echo '| tags | revisions | blobs | regsweep | microseconds a tag or revision | docker-registry |'
  echo '|--:|--:|--:|--:|--:|--:|'
  for count in "${more_tags[@]}"; do
    echo "| $(thousands "$count") | $(thousands "$(of "one-$count" .tree.revisions)") |" \
      "$(thousands "$(of "one-$count" .tree.blobs)") | $(seconds "one.$count") | $(short "$(each "$count")") |" \
      "$([[ $count != "$tags" ]] || echo "$stock ")|"
  done
  steepest=$(compute "$(each "${more_tags[-1]}") / $(each "${more_tags[0]}")")
  goals
  goal "$(thousands "$tags") tags" below 0.5 "$(median "one.$tags")" s
  goal "a tag or revision, $(thousands "${more_tags[-1]}") tags / $(thousands "${more_tags[0]}") tags" at_most 1.5 "$steepest"
  for count in "${more_tags[@]}"; do drop_tree "one-$count"; done
}
