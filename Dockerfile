# syntax=docker/dockerfile:1

# Debian 12 in both stages: the binary finds the C library it was linked with. aws-lc and SQLite are built from
# source, which takes a C compiler (in the image already) and nothing else.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies alone, so that a change of ours does not build them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --profile dist --locked --bin doorward \
    && rm -r src

COPY migrations migrations
COPY templates templates
COPY src src
# The stand-ins above are younger than the sources; Cargo goes by time.
RUN touch src/main.rs src/lib.rs \
    && cargo build --profile dist --locked --bin doorward \
    && mkdir -p /stage/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/dist/doorward /usr/local/bin/doorward
COPY --from=build --chown=65532:65532 --chmod=0700 /stage/data /data

# The project folder is mounted at /project/config.
WORKDIR /project
ENV DOORWARD_DATABASE_URL=sqlite:///data/doorward.db
VOLUME /data
EXPOSE 9000
USER 65532:65532
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/doorward", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/doorward"]
CMD ["serve"]
