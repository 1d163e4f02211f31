"""A Django shop with a Celery worker, as somebody would write it who has never heard of tracing.

One order goes the whole way: requests → Django (order) → requests → Django (stock) → Celery (reserve). The only line
about tracing prints the id of that trace, so that the test knows what to look for.
"""

import os
import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import requests
from celery import Celery
from celery.contrib.testing.worker import start_worker
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from opentelemetry import trace

celery = Celery("shop", broker="memory://", backend="cache+memory://")


@celery.task(name="shop.reserve")
def reserve(product: str) -> str:
    return f"reserved {product}"


def order(request: HttpRequest, product: str) -> JsonResponse:
    stock = requests.get(request.build_absolute_uri(f"/stock/{product}"), timeout=30)
    return JsonResponse(
        {"stock": stock.json(), "trace_id": f"{trace.get_current_span().get_span_context().trace_id:032x}"}
    )


def stock(_request: HttpRequest, product: str) -> JsonResponse:
    return JsonResponse({"reservation": reserve.delay(product).get(timeout=30)})


urlpatterns = [path("order/<product>", order), path("stock/<product>", stock)]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_) -> None:
        pass


def main() -> None:
    server = make_server("127.0.0.1", 0, get_wsgi_application(), Server, QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with start_worker(celery, perform_ping_check=False, pool="solo"):
        answer = requests.get(f"http://127.0.0.1:{server.server_port}/order/hat", timeout=60)
    answer.raise_for_status()
    assert answer.json()["stock"] == {"reservation": "reserved hat"}, answer.text
    server.shutdown()
    print(answer.json()["trace_id"])


if __name__ == "__main__":
    # Django imports this file by its name: without this the tasks and views would exist twice.
    sys.modules["shop"] = sys.modules["__main__"]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    main()
