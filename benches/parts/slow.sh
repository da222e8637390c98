# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016
# A dry run on a volume that takes 1 ms for each request: slowfs (benches/slowfs.c), a FUSE file system that passes
# everything through and waits. It stands for a network volume, where waiting is what takes the time.

# fetch PACKAGE: into this folder; nothing is installed. On a fresh machine nobody has asked yet what there is.
fetch() { apt-get download "$1" || { apt-get -qq update && apt-get download "$1"; }; }

# build_slowfs: $work/slowfs. On failure it says what is missing.
build_slowfs() {
  local flags headers=$work/fuse3
  has cc || { echo "there is no C compiler (\`cc\`)" && return 1; }
  has fusermount3 || { echo "\`fusermount3\` is missing (Debian: fuse3)" && return 1; }
  [[ -e /dev/fuse ]] || { echo "there is no \`/dev/fuse\`" && return 1; }
  if has pkg-config && pkg-config --exists fuse3; then
    read -ra flags <<<"$(pkg-config --cflags --libs fuse3)"
  else
    # The library itself is there with fusermount3; only its headers are to be fetched.
    mkdir -p "$headers"
    if ! (cd "$headers" && fetch libfuse3-dev && dpkg-deb -x libfuse3-dev_*.deb .) >"$work/err" 2>&1; then
      echo "the headers of FUSE 3 are missing (Debian: libfuse3-dev), and cannot be fetched"
      return 1
    fi
    flags=(-D_FILE_OFFSET_BITS=64 "-I$headers/usr/include" "-I$headers/usr/include/fuse3" -l:libfuse3.so.3 -lpthread)
  fi
  cc -O2 -o "$work/slowfs" benches/slowfs.c "${flags[@]}" 2>"$work/err" || {
    echo "\`benches/slowfs.c\` does not compile: $(grep -m1 error "$work/err")"
    return 1
  }
}

mount_slowfs() {
  local try
  mkdir -p "$work/slow"
  "$work/slowfs" "$work/requests" "$work/slow" 1000 2>"$work/slowfs.err" &
  for ((try = 0; try < 50; try++)); do
    sleep 0.1
    mountpoint -q "$work/slow" && return
  done
  echo "slowfs cannot be mounted: $(tail -n 1 "$work/slowfs.err")"
  return 1
}

# slow_run NAME COMMAND...: after what the kernel keeps of names and attributes for a second is forgotten.
slow_run() {
  sleep 1.5
  measure "$@"
}

part_slow() {
  local round jobs why
  slow_tree requests
  mounted+=("$work/slow")
  if ! why=$(build_slowfs) || ! mount_slowfs >"$work/why"; then
    echo "Not measured: ${why:-$(cat "$work/why")}."
    goals
    goal "docker-registry / regsweep" at_least 80 -
    return
  fi
  stock_config slow "$work/slow"
  check_ours_on "$work/slow" requests default
  say "a volume with 1 ms a request: regsweep, $rounds rounds"
  for ((round = 1; round <= rounds; round++)); do
    slow_run slow.ours "$regsweep" gc --dry-run "$work/slow"
    for jobs in 4 16 64; do slow_run "slow.$jobs" "$regsweep" gc --dry-run --jobs "$jobs" "$work/slow"; done
  done
  slow_run slow.1 "$regsweep" gc --dry-run --jobs 1 "$work/slow"
  say "a volume with 1 ms a request: docker-registry"
  slow_run slow.stock docker-registry garbage-collect --dry-run "$work/slow.yml"
  check_stock "$work/out" requests default
  unmount "$work/slow"
  wait

  echo "| dry run, 1 ms a request, $(thousands "$(of requests .tree.blobs)") blobs | seconds | / regsweep |"
  echo '|---|--:|--:|'
  echo "| regsweep | $(seconds slow.ours) | 1 |"
  for jobs in 1 4 16 64; do
    echo "| regsweep \`--jobs $jobs\` | $(seconds "slow.$jobs") | $(ratio slow.ours "slow.$jobs") |"
  done
  echo "| docker-registry | $(seconds slow.stock) | $(ratio slow.ours slow.stock) |"
  goals
  goal "docker-registry / regsweep" at_least 80 "$(ratio slow.ours slow.stock)"
  drop_tree requests
}
