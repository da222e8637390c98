# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # the variables are those of benches/compare and of the parts
# The trees that benches/compare generates, and how often it measures on them.

rounds=${ROUNDS:-3} sweep_rounds=${SWEEP_ROUNDS:-2}
# The largest has no indexes because of what the other collector does to them with --delete-untagged: it takes the
# platforms of tagged images, so it has other work to do than a right one.
plain=(--tags 20 --untagged 36 --indexes 0 --orphans 21 --seed 2)
mixed=(--tags 17 --untagged 30 --indexes 10 --seed 1)
slow=(--tags 20 --untagged 36 --indexes 0 --seed 4)
one=(--repositories 1 --indexes 0 --seed 3)
repositories=500 mixed_repositories=100 slow_repositories=26 smaller=(62 125 250) ten_times=5000
tags=3000 more_tags=(1500 3000 6000 12000) patience=250
if ((quick)); then
  rounds=${ROUNDS:-1} sweep_rounds=${SWEEP_ROUNDS:-1}
  repositories=20 mixed_repositories=10 slow_repositories=3 smaller=(5 10) ten_times=200
  tags=60 more_tags=(30 60) patience=10
fi

# generate TREE ARGUMENT...: TREE, and beside it TREE.json, what is in it and what is to be found. If it is there
# already, that one.
generate() {
  [[ ! -e $work/$1.json ]] || return 0
  say "generating $1: ${*:2}"
  "$work/generate" "$work/$1" "${@:2}" >"$work/generated"
  mv -- "$work/generated" "$work/$1.json"
  sync -f "$work"
}

# plain_tree: the tree that most parts share, with several images to a repository and no indexes.
plain_tree() { generate plain --repositories "$repositories" "${plain[@]}"; }

# slow_tree NAME: one that is small enough for what takes its time with each request.
slow_tree() { generate "$1" --repositories "$slow_repositories" "${slow[@]}"; }

drop_tree() { rm -rf -- "${work:?}/$1" "$work/$1.json" "$work/$1.yml"; }

# of TREE FILTER: a figure from TREE.json.
of() { jq -r "$2" "$work/$1.json"; }

# stock_config NAME [FOLDER]: NAME.yml, the config that docker-registry wants to have.
stock_config() {
  printf 'version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\n' \
    "$(jq -Rn --arg it "${2:-$work/$1}" '$it')" >"$work/$1.yml"
}
