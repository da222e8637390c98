# regsweep and nothing else: a static binary, the certificates that a registry behind https is asked with, no shell.
#
#   docker build -t regsweep .
#   docker run --rm -v /srv/registry:/var/lib/registry regsweep gc --dry-run /var/lib/registry
#
# It has to run as whoever owns the registry's files (`stat -c %u:%g /srv/registry/docker`): the registry's own images
# run as root, so what is more than a dry run needs `--user 0:0` there, and no capability (docs/installing.md).

FROM rust:1.95-alpine AS build
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY . .
# Alpine's target is musl, which is linked statically.
RUN cargo build --release --locked \
 && install -D target/release/regsweep /out/usr/bin/regsweep \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
 && install -D -m 644 -t /out/usr/share/doc/regsweep LICENSE-APACHE LICENSE-MIT

# scripts/container takes the binary that scripts/package --static has built, in place of the stage above.
FROM scratch
COPY --from=build /out /
USER 65532:65532
ENTRYPOINT ["/usr/bin/regsweep"]
CMD ["--help"]
