# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # the variables are those of benches/compare; backquotes are Markdown's
# What the parts of benches/compare share: measuring, checking, tables.

# unmount FOLDER: what a part has mounted there, if it still is.
unmount() {
  ! mountpoint -q "$1" || fusermount3 -u "$1" 2>/dev/null || umount "$1"
}

# ------------------------------------------------------------------------------------------------------------ measuring

# timed NAME WARMUPS RUNS COMMAND...: the seconds of each run, and the mean of their processor seconds, as samples of
# NAME. $prepare is run before each run.
prepare=
timed() {
  local name=$1 warmups=$2 runs=$3
  shift 3
  hyperfine --shell none --style none --warmup "$warmups" --runs "$runs" ${prepare:+--prepare "$prepare"} \
    --export-json "$work/timed" "${*@Q}" >/dev/null 2>"$work/err" || {
    tail -n 5 "$work/err" >&2
    fail "failed: $*"
  }
  jq -r '.results[0].times[]' "$work/timed" >>"$work/samples/$name"
  jq -r '.results[0] | .user + .system' "$work/timed" >>"$work/samples/$name.cpu"
}

# measure NAME COMMAND...: one run, with its seconds, processor seconds and peak memory (KiB) as samples of NAME. What
# it prints is in $work/out then, or goes to $out.
out=
measure() {
  local name=$1 began ended to=${out:-$work/out}
  shift
  # What others have written before is not to be paid by this one.
  sync -f "$work"
  began=$EPOCHREALTIME
  /usr/bin/time -f '%U %S %M' -o "$work/used" "$@" >"$to" 2>"$work/err" || {
    tail -n 5 "$work/err" >&2
    fail "failed: $*"
  }
  ended=$EPOCHREALTIME
  note "$name" "$(awk -v began="$began" -v ended="$ended" 'BEGIN { printf "%.3f", ended - began }')"
  note "$name.cpu" "$(awk '{ printf "%.2f", $1 + $2 }' "$work/used")"
  note "$name.memory" "$(awk '{ print $3 }' "$work/used")"
}

note() {
  [[ $2 =~ ^[0-9]+([.][0-9]+)?$ ]] || fail "$1: \"$2\" is no figure"
  printf '%s\n' "$2" >>"$work/samples/$1"
}

# median NAME, lowest NAME, highest NAME
median() {
  sort -g "$work/samples/$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}
lowest() { sort -g "$work/samples/$1" | head -n 1; }
highest() { sort -g "$work/samples/$1" | tail -n 1; }

# compute EXPRESSION: of awk.
compute() { awk "BEGIN { printf \"%.4f\", ${1//$'\n'/} }"; }

# ------------------------------------------------------------------------------------------------------------- checking

expect() {
  [[ $2 == "$3" ]] || fail "$1: $2 found, $3 to be found"
}

# check_ours REPORT garbage|removed TREE default|delete_untagged
check_ours() {
  local found wanted
  found=$(jq -r ".$2 | [.blobs.count, .blobs.bytes, .layer_links.count, .revisions.count, .tag_history.count,
    .tags.count, .uploads.count, .repositories.count] | @tsv" "$1")
  wanted=$(of "$3" ".$4 | [.blobs.count, .blobs.bytes, .layer_links, .revisions + .empty_revision_folders,
    .tag_history, 0, 0, 0] | @tsv")
  expect "regsweep, $4 (blobs, bytes, layer links, revisions, tag history, tags, uploads, repositories)" \
    "$found" "$wanted"
  expect "regsweep, findings" "$(jq -r '"\(.findings | length) \(.outcome)"' "$1")" "0 complete"
}

# check_stock OUTPUT TREE default|delete_untagged
check_stock() {
  # Without the option revisions are never eligible.
  expect "docker-registry, $3, blobs" \
    "$(grep -c '^blob eligible for deletion: ' "$1" || true)" "$(of "$2" ".$3.blobs.count")"
  expect "docker-registry, $3, revisions" \
    "$(grep -c '^manifest eligible for deletion: ' "$1" || true)" "$(of "$2" ".$3.revisions")"
}

# options default|delete_untagged: what both tools are given for it; nothing, or one word.
options() { [[ $1 == default ]] || echo --delete-untagged; }

# check_ours_on FOLDER TREE MODE, check_stock_on CONFIG TREE MODE: a dry run that is checked and not measured.
check_ours_on() {
  # shellcheck disable=SC2046
  "$regsweep" gc --dry-run $(options "$3") --format json "$1" >"$work/out"
  check_ours "$work/out" garbage "$2" "$3"
}
check_stock_on() {
  # shellcheck disable=SC2046
  docker-registry garbage-collect --dry-run $(options "$3") "$1" >"$work/out" 2>"$work/err"
  check_stock "$work/out" "$2" "$3"
}

# ------------------------------------------------------------------------------------------------------------ the tables

thousands() { sed -E ':again; s/^([0-9]+)([0-9]{3})/\1,\2/; t again' <<<"$1"; }

# short SECONDS: with as many decimals as say something.
short() { awk -v it="$1" 'BEGIN { printf it < 1 ? "%.3f" : it < 10 ? "%.2f" : "%.1f", it }'; }

# seconds NAME: the median, and the range where there was more than one run. not_measured, if there was none.
seconds() {
  [[ -e $work/samples/$1 ]] || { echo "not measured" && return; }
  local range=""
  (($(wc -l <"$work/samples/$1") == 1)) || range=" ($(short "$(lowest "$1")") to $(short "$(highest "$1")"))"
  echo "$(short "$(median "$1")") s$range"
}

mebibytes() { awk -v median="$(median "$1")" 'BEGIN { printf "%.1f MiB", median / 1024 }'; }

# ratio ONE OTHER: how many times OTHER is ONE.
ratio() { awk -v one="$(median "$1")" -v other="$(median "$2")" 'BEGIN { printf "%.2f", other / one }'; }

# goals: the head of a table of goals. goal WHAT at_least|at_most|below WANTED MEASURED [UNIT]: a row of it. What is
# judged is the figure as it is printed. `-` for MEASURED: it was not measured.
goals() { printf '\n| goal | wanted | measured | |\n|---|--:|--:|---|\n'; }
goal() {
  local what=$1 relation=$2 wanted=$3 measured=$4 unit=${5:+ $5} reached
  if [[ $measured == - ]]; then
    printf '| %s | %s %s%s | | not measured |\n' "$what" "${relation/_/ }" "$wanted" "$unit"
    return
  fi
  measured=$(awk -v it="$measured" 'BEGIN { printf it < 10 ? "%.2f" : "%.1f", it }')
  reached=$(awk -v relation="$relation" -v wanted="$wanted" -v measured="$measured" 'BEGIN {
    reached = relation == "at_least" ? measured >= wanted : relation == "at_most" ? measured <= wanted : measured < wanted
    print reached ? "reached" : "**not reached**" }')
  printf '| %s | %s %s%s | %s%s | %s |\n' "$what" "${relation/_/ }" "$wanted" "$unit" "$measured" "$unit" "$reached"
}

# tree_rows TREE NAME: what is in it. The head of the table comes first.
tree_head() {
  printf '| tree | repositories | tags | revisions | layer links | blobs | garbage blobs | with `--delete-untagged` |\n'
  printf '|---|--:|--:|--:|--:|--:|--:|--:|\n'
}
tree_row() {
  local figure row="| $2 "
  for figure in .tree.{repositories,tags,revisions,layer_links,blobs} .{default,delete_untagged}.blobs.count; do
    row+="| $(thousands "$(of "$1" "$figure")") "
  done
  echo "$row|"
}

# heading: what was measured, where and when. $load is the load average when the part began.
heading() {
  local cpu kernel
  cpu=$(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)
  kernel=$(uname -r)
  {
    echo "$(date -u +%F), $("$regsweep" --version), with as many requests in flight as it chooses unless said otherwise;"
    echo "docker-registry $(docker-registry --version | awk '{ print $NF }')."
    echo "${cpu:-$(uname -m)}, $(nproc) cores, $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB of"
    echo "memory; $(uname -s) ${kernel%%-*}, $(df --output=fstype "$work" | tail -n 1); load average $load when the part"
    echo "began, $(awk '{ print $1 }' /proc/loadavg) when it ended."
  } | paste -sd ' ' | fold -s -w 118 | sed 's/ *$//'
  echo
}

# put_into_page PART FILE: between the page's two markers of that part.
put_into_page() {
  local begin="<!-- benches/compare $1 -->" end="<!-- end of $1 -->"
  [[ $(grep -cxF -e "$begin" -e "$end" "$page") == 2 ]] || fail "$page does not have the two markers of $1"
  awk -v begin="$begin" -v end="$end" -v tables="$2" '
    $0 == end { print ""; inside = 0 }
    !inside { print }
    $0 == begin { inside = 1; print ""; while ((getline line < tables) > 0) print line }' "$page" >"$work/page"
  cat "$work/page" >"$page"
}
