# syntax=docker/dockerfile:1
# One image with the balancer and the store; compose.yml says which of them runs.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin balancer --bin store \
    && cp target/release/balancer target/release/store /usr/local/bin/

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/balancer /usr/local/bin/store /usr/local/bin/
RUN useradd --system --create-home --home-dir /var/lib/shop shop
WORKDIR /var/lib/shop
