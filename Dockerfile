# The mosso image: built with the toolchain of Cargo.toml, run without a shell as an unprivileged user.
#   docker build -t mosso:0.1.0 .
#   docker run -p 3200:3200 -p 4317:4317 -p 4318:4318 -v mosso:/var/mosso mosso:0.1.0

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --bin mosso \
 && mkdir -p /image/usr/local/bin /image/var/mosso \
 && cp target/dist/mosso /image/usr/local/bin/mosso \
 && strip --strip-debug /image/usr/local/bin/mosso

# The same Debian release as above: libc and libgcc, certificates, and nothing else.
FROM gcr.io/distroless/cc-debian12:latest
COPY --from=build /image/usr/local/bin/mosso /usr/local/bin/mosso
COPY --from=build --chown=10001:10001 /image/var/mosso /var/mosso
COPY deploy/mosso.yaml /etc/mosso/mosso.yaml
USER 10001:10001
WORKDIR /var/mosso
VOLUME /var/mosso
EXPOSE 3200 4317 4318
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/mosso"]
CMD ["-config.file=/etc/mosso/mosso.yaml"]
