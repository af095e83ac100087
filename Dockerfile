# Two images of one build: --target balancer and --target store. Each holds its program, the libraries
# that it names, and nothing else: no shell, no package manager, no root.
ARG RUST=1.95
FROM rust:${RUST}-bookworm AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# `release`, or `dev` for a quick build that serves slowly.
ARG PROFILE=release
# The time that goes into files; with the same one, the same sources give the same image.
ARG SOURCE_DATE_EPOCH=0
# Crates and what was compiled of them stay with the engine from build to build.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile "$PROFILE" --bin balancer --bin store \
    && mkdir -p /out/bin \
    && folder=$(test "$PROFILE" = dev && echo debug || echo "$PROFILE") \
    && cp "target/$folder/balancer" "target/$folder/store" /out/bin/ \
    && strip /out/bin/*

# What both images are made of. Programs come last, so that a new build adds a layer of its own only.
WORKDIR /out
RUN mkdir -p base/etc/ssl/certs base/tmp base/run base/var/lib/shop \
    && ldd bin/balancer bin/store | grep -o '/[^ )]*' | grep '\.so' | sort -u \
        | while read -r library; do cp -L --parents "$library" base; done \
    && cp -L /etc/ssl/certs/ca-certificates.crt base/etc/ssl/certs/ \
    && cp -r --parents /usr/share/zoneinfo base \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nshop:x:999:999:shop:/var/lib/shop:/sbin/nologin\n' >base/etc/passwd \
    && printf 'root:x:0:\nshop:x:999:\n' >base/etc/group \
    && printf 'hosts: files dns\n' >base/etc/nsswitch.conf \
    && chown 999:999 base/run base/var/lib/shop \
    && chmod 1777 base/tmp

# Where nginx's image has things: its name, its files, its logs on the standard streams, a place for its
# pid file. The folder that the program looks into by itself leads there, so `nginx -s reload` is enough.
RUN mkdir -p nginx/usr/sbin nginx/usr/local/nginx nginx/var/log/nginx \
    && ln -s balancer nginx/usr/sbin/nginx \
    && ln -s /etc/nginx nginx/usr/local/nginx/conf \
    && ln -s /usr/share/nginx/html nginx/usr/local/nginx/html \
    && ln -s /var/log/nginx nginx/usr/local/nginx/logs \
    && ln -s /dev/stdout nginx/var/log/nginx/access.log \
    && ln -s /dev/stderr nginx/var/log/nginx/error.log \
    && ln -s /run nginx/var/run \
    && chown -R --no-dereference 999:999 nginx/var/log/nginx nginx/usr/local/nginx \
    && find base nginx bin -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +


FROM scratch AS balancer
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="balancer" \
      org.opencontainers.image.description="A reverse proxy and load balancer that reads nginx.conf" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/base/ /
COPY --from=build /out/nginx/ /
COPY configs/docker/nginx.conf configs/docker/mime.types /etc/nginx/
COPY configs/docker/default.conf /etc/nginx/conf.d/
COPY configs/docker/index.html /usr/share/nginx/html/
COPY --from=build /out/bin/balancer /usr/sbin/
USER 999:999
WORKDIR /etc/nginx
EXPOSE 80 8081
# Requests under way are answered to their end; whoever starts the container gives them the time.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=2s --timeout=6s --start-period=10s CMD ["/usr/sbin/balancer", "healthcheck"]
ENTRYPOINT ["/usr/sbin/balancer"]
CMD ["-e", "stderr", "-g", "daemon off;", "--admin", "0.0.0.0:8081"]


FROM scratch AS store
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="store" \
      org.opencontainers.image.description="A store manager: products, users, orders, stock, reports" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/base/ /
COPY --from=build /out/bin/store /usr/bin/
USER 999:999
WORKDIR /var/lib/shop
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=4s --start-period=60s CMD ["/usr/bin/store", "healthcheck"]
ENTRYPOINT ["/usr/bin/store"]
CMD ["serve"]
