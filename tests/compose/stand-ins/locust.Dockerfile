# For locustio/locust:2.47.0: the same Locust from its Python package.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates && rm -rf /var/lib/apt/lists/*
COPY requirements.txt ca-certificates.crt /tmp/
RUN python3 -m venv /opt/locust && /opt/locust/bin/pip install --quiet --cert /tmp/ca-certificates.crt -r /tmp/requirements.txt
RUN useradd --create-home --uid 1000 locust
USER 1000
WORKDIR /home/locust
EXPOSE 8089 5557
ENTRYPOINT ["/opt/locust/bin/locust"]
