# For mariadb:10.11: Debian's own with Galera, with the variables of the real image.
FROM debian:bookworm-slim
RUN useradd --system --uid 999 --home-dir /var/lib/mysql mysql \
    && apt-get update && apt-get install -y --no-install-recommends mariadb-server galera-4 mariadb-backup socat && rm -rf /var/lib/apt/lists/* \
    && rm -rf /var/lib/mysql/* /etc/mysql/mariadb.conf.d/* && mkdir -p /run/mysqld && chown mysql: /var/lib/mysql /run/mysqld
COPY mariadb-entrypoint /usr/local/bin/docker-entrypoint.sh
USER 999
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mariadbd"]
