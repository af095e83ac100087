"""A collector of traces made of gRPC's and OpenTelemetry's own code: tells each batch as a line.

    collector.py [--port PORT] [--reject SPANS] [--hold] [--tls CERTIFICATE KEY]

The first line is the port. With `--hold` no batch is answered.
"""

import argparse
import concurrent.futures
import json
import threading

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

printing = threading.Lock()


def tell(line):
    with printing:
        print(line, flush=True)


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(it) for it in any_value.array_value.values]
    return getattr(any_value, kind)


def attributes(pairs):
    return [[it.key, value(it.value)] for it in pairs]


def span(it):
    return {
        "trace_id": it.trace_id.hex(),
        "span_id": it.span_id.hex(),
        "parent_span_id": it.parent_span_id.hex(),
        "trace_state": it.trace_state,
        "name": it.name,
        "kind": it.SpanKind.Name(it.kind),
        "start": it.start_time_unix_nano,
        "end": it.end_time_unix_nano,
        "attributes": attributes(it.attributes),
        "status": it.status.StatusCode.Name(it.status.code),
    }


class Collector(services.TraceServiceServicer):
    def __init__(self, words):
        self.words = words

    def Export(self, request, context):
        batches = [
            {
                "metadata": dict(context.invocation_metadata()),
                "resource": attributes(resource.resource.attributes),
                "scope": scope.scope.name,
                "spans": [span(it) for it in scope.spans],
            }
            for resource in request.resource_spans
            for scope in resource.scope_spans
        ]
        for batch in batches:
            tell(json.dumps(batch))
        if self.words.hold:
            threading.Event().wait()
        response = messages.ExportTraceServiceResponse()
        if self.words.reject:
            response.partial_success.rejected_spans = self.words.reject
            response.partial_success.error_message = "too old"
        return response


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--reject", type=int, default=0)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--tls", nargs=2)
    words = parser.parse_args()
    # Who holds takes a thread for each batch.
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16))
    services.add_TraceServiceServicer_to_server(Collector(words), server)
    address = f"127.0.0.1:{words.port}"
    if words.tls:
        certificate, key = (open(it, "rb").read() for it in words.tls)
        port = server.add_secure_port(
            address, grpc.ssl_server_credentials([(key, certificate)])
        )
    else:
        port = server.add_insecure_port(address)
    server.start()
    tell(port)
    server.wait_for_termination()


main()
