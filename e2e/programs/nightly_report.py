"""A script as a CronJob runs it: a few steps, then it ends. Its spans leave in the SDK's shutdown, or never."""

from opentelemetry import trace

tracer = trace.get_tracer("nightly-report")


def main() -> None:
    with tracer.start_as_current_span("nightly report") as report:
        for table in ("orders", "refunds"):
            with tracer.start_as_current_span("sum up", attributes={"db.collection.name": table}):
                pass
    print(f"{report.get_span_context().trace_id:032x}")


if __name__ == "__main__":
    main()
