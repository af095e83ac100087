# For mysql:8.4: the MySQL of Debian's unstable distribution, with the variables of the real image.
FROM debian:bookworm-slim
RUN echo 'deb http://deb.debian.org/debian sid main' >/etc/apt/sources.list.d/sid.list \
    && apt-get -o Acquire::Check-Valid-Until=false update && apt-get install -y --no-install-recommends -t sid mysql-server-core mysql-client-core \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 999 --home-dir /var/lib/mysql mysql \
    && mkdir -p /var/lib/mysql /run/mysqld && chown mysql: /var/lib/mysql /run/mysqld
COPY mysql-entrypoint /usr/local/bin/docker-entrypoint.sh
USER 999
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mysqld"]
