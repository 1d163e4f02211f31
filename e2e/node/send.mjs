// One trace of two spans from the OpenTelemetry SDK for Node, sent the way the first argument says.
//
//   node send.mjs grpc|http/protobuf|http/json ENDPOINT SERVICE
//
// Prints the id of the trace once the exporter has reported success; fails when it has not.

import { SpanKind, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const [protocol, endpoint, service] = process.argv.slice(2);
const exporters = {
  grpc: () => new GrpcExporter({ url: endpoint, compression: "gzip" }),
  "http/protobuf": () => new ProtobufExporter({ url: `${endpoint}/v1/traces`, compression: "gzip" }),
  "http/json": () => new JsonExporter({ url: `${endpoint}/v1/traces` }),
};
const exporter = exporters[protocol]();

// The SDK swallows a failed export; the exit code of this program should not.
let failed = 0;
const exportSpans = exporter.export.bind(exporter);
exporter.export = (spans, report) =>
  exportSpans(spans, (result) => {
    if (result.code !== 0) {
      failed += 1;
      console.error(result.error);
    }
    report(result);
  });

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": service }),
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
provider.register();
const tracer = trace.getTracer("e2e.node");
const traceId = tracer.startActiveSpan("render page", { kind: SpanKind.SERVER }, (page) => {
  tracer.startActiveSpan("load basket", { attributes: { "basket.items": 2, "basket.price": 9.5 } }, (basket) => basket.end());
  page.end();
  return page.spanContext().traceId;
});
await provider.forceFlush();
await provider.shutdown();
console.log(traceId);
process.exitCode = failed === 0 ? 0 : 1;
