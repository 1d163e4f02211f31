"""Settings of the Django shop; opentelemetry-instrument adds its middleware to them."""

ALLOWED_HOSTS = ["127.0.0.1"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "shop"
SECRET_KEY = "only for this test"
USE_TZ = True
