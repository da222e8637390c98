# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# Sweeps with `--delete-untagged`, in turn, on a copy of the large tree that is made whole again before each. Both
# collectors write down what they remove: regsweep as its report, docker-registry on stdout. The third in turn is
# `rm -rf`, which is told which folders to take and takes nothing but the blobs.

# whole: $work/copy is a copy of the large tree, written to the disk, with its folders, attributes and manifests in the
# cache. Only what is missing is copied: to delete and copy all of it would take longer than everything that is measured.
whole() {
  local v2=docker/registry/v2
  mkdir -p "$work/copy"
  rm -rf -- "$work/copy/$v2/_regsweep"
  tar -C "$work/plain" -cf - . | tar -C "$work/copy" --skip-old-files -xf -
  sync -f "$work"
  # A size asks for every file's attributes, a dry run for everything that either collector reads. All folders are in
  # the cache only after some passes: the first ones are slow enough for the host to take back what they began with.
  for _ in 1 2 3 4; do find "$work/copy" -type f -size +1G; done
  "$regsweep" gc --dry-run --delete-untagged --format json "$work/copy" >"$work/out"
  check_ours "$work/out" garbage plain delete_untagged
}

# blobs: the blobs of the copy that are there.
blobs() { (cd "$work/copy/docker/registry/v2/blobs" && find . -name data | sort); }

# remove_garbage: one process, or as few as the length of a command line allows.
remove_garbage() {
  # shellcheck disable=SC2016 # the inner shell expands it
  measure rm sh -c 'cd "$1" && exec xargs -0 -a "$2" -s 2000000 rm -rf --' sh \
    "$work/copy/docker/registry/v2/blobs/sha256" "$work/garbage"
}

part_sweep() {
  local round jobs
  plain_tree
  stock_config copy
  whole
  jq -j '.actions[] | select(.kind == "blob") | .digest | ltrimstr("sha256:") | .[:2] + "/" + . + "\u0000"' \
    "$work/out" >"$work/garbage"
  for ((round = 1; round <= sweep_rounds; round++)); do
    say "sweeps, round $round of $sweep_rounds"
    ((round == 1)) || whole
    measure sweep.ours "$regsweep" gc --delete-untagged --registry-stopped --report "$work/report" "$work/copy"
    check_ours "$work/report" removed plain delete_untagged
    note sweep.window "$(jq .window_seconds "$work/report")"
    blobs >"$work/left.ours"
    expect "blobs that are left" "$(wc -l <"$work/left.ours")" \
      "$(of plain '.tree.blobs - .delete_untagged.blobs.count')"

    whole
    measure sweep.stock docker-registry garbage-collect --delete-untagged "$work/copy.yml"
    check_stock "$work/out" plain delete_untagged
    blobs >"$work/left.stock"
    cmp -s "$work/left.ours" "$work/left.stock" || fail "the two have left different blobs"

    whole
    remove_garbage
    blobs >"$work/left.rm"
    cmp -s "$work/left.ours" "$work/left.rm" || fail "rm has left other blobs"
  done
  for jobs in 8 64; do
    say "a sweep with --jobs $jobs"
    whole
    measure sweep.jobs "$regsweep" gc --delete-untagged --registry-stopped --jobs "$jobs" --report "$work/report" "$work/copy"
    check_ours "$work/report" removed plain delete_untagged
    note "purge.$jobs" "$(jq '.phases[] | select(.name == "purge").seconds' "$work/report")"
  done
  drop_tree copy

  echo '| sweep, `--delete-untagged` | regsweep: read-only window | regsweep: all of it | docker-registry | `rm -rf` of the blobs |'
  echo '|---|--:|--:|--:|--:|'
  echo "| $(thousands "$(of plain .delete_untagged.blobs.count)") garbage blobs | $(seconds sweep.window) |" \
    "$(seconds sweep.ours) | $(seconds sweep.stock) | $(seconds rm) |"
  echo "| processor time | | $(short "$(median sweep.ours.cpu)") s | $(short "$(median sweep.stock.cpu)") s |" \
    "$(short "$(median rm.cpu)") s |"
  echo "| peak memory | | $(mebibytes sweep.ours.memory) | $(mebibytes sweep.stock.memory) | |"
  for jobs in 8 64; do echo "| deleting, $jobs in flight (\`--jobs $jobs\`) | | $(seconds "purge.$jobs") | | |"; done
  goals
  goal "docker-registry / read-only window" at_least 15 "$(ratio sweep.window sweep.stock)"
  goal "docker-registry / all of it" at_least 3 "$(ratio sweep.ours sweep.stock)"
  goal 'all of it / `rm -rf` of the blobs alone' below 1 "$(ratio rm sweep.ours)"
}
