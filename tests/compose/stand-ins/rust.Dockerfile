# For rust:1.95-bookworm: the toolchain of this machine, the C compiler of Debian.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make pkg-config ca-certificates tzdata && rm -rf /var/lib/apt/lists/*
COPY toolchain/ /usr/local/
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV CARGO_HOME=/usr/local/cargo
