# For redis:7: Debian's Redis 7.0.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends redis-server redis-tools && rm -rf /var/lib/apt/lists/*
USER 65534
WORKDIR /data
CMD ["redis-server", "--protected-mode", "no"]
