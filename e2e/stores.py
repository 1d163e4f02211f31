"""Object stores of other projects on loopback ports: SeaweedFS, moto's S3 server and Azurite.

Owns starting and stopping them, the bucket that a test uses, and the configuration that points mosso at it. Each keeps
its ports, so that it can go away and come back while mosso runs; what it stored comes back too, except moto's.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import botocore.client
import botocore.exceptions
from azure.storage.blob import BlobServiceClient

from ports import free_port

ACCESS_KEY = "mosso"
SECRET_KEY = "a-secret-of-the-test"
BUCKET = "traces"
PREFIX = "some/folder"
START_SECONDS = 60

# Azurite's own account: public, and the same everywhere.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Store:
    """A store's process and its folder. As a context it runs, and has its bucket."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def __enter__(self):
        self.folder.mkdir(parents=True)
        self.start()
        self.make_bucket()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def command(self) -> list[str]:
        raise NotImplementedError

    def make_bucket(self) -> None:
        raise NotImplementedError

    def section(self, **changes) -> dict:
        """The section `storage` of a configuration; `changes` go into the part that is the store's own."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """The keys of all objects in the bucket."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and returns once it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, f"the store ended: {self.tail()}"
            assert time.monotonic() < deadline, f"the store did not answer in {START_SECONDS} s: {self.tail()}"
            time.sleep(0.05)

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Kills it: that is quick, and harder on mosso than an ordered end."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def tail(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]


class S3Store(Store):
    def client(self):
        # one attempt: whoever waits for a store asks again anyway
        settings = botocore.client.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=settings,
        )

    def answers(self) -> bool:
        try:
            return super().answers() and bool(self.client().list_buckets())
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False

    def make_bucket(self) -> None:
        self.client().create_bucket(Bucket=BUCKET)

    def section(self, **changes) -> dict:
        s3 = {
            "bucket": BUCKET,
            "prefix": PREFIX,
            "endpoint": self.address,
            "insecure": True,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        }
        return {"trace": {"backend": "s3", "s3": {**s3, **changes}}}

    def keys(self) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [thing["Key"] for page in pages for thing in page.get("Contents", [])]


class SeaweedFs(S3Store):
    """Verifies signatures, and keeps its data over a restart."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        names = ["master.port", "volume.port", "filer.port"]
        names += [f"{name}.grpc" for name in [*names, "s3.port"]]
        self.ports = {name: free_port() for name in names}

    def answers(self) -> bool:
        """Its parts start one after the other: what was stored before has to be readable, too."""
        if not super().answers():
            return False
        client = self.client()
        try:
            first = client.list_objects_v2(Bucket=BUCKET, MaxKeys=1).get("Contents", [])
            return all(client.get_object(Bucket=BUCKET, Key=thing["Key"]) for thing in first)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"] == "NoSuchBucket"
        except botocore.exceptions.BotoCoreError:
            return False

    def command(self) -> list[str]:
        credentials = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        identities = {"identities": [{"name": "test", "credentials": [credentials], "actions": ["Admin"]}]}
        config, data = self.folder / "identities.json", self.folder / "data"
        config.write_text(json.dumps(identities))
        data.mkdir(exist_ok=True)
        flags = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "master.electionTimeout": "1s",
            "volume.max": 50,
            "s3.config": config,
            "s3.port": self.port,
            # catalogs at ports of their own, which two stores cannot share
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **self.ports,
        }
        weed = str(Path(sys.executable).parent / "weed")
        return [weed, "-logtostderr=true", "server", "-s3", *(f"-{name}={value}" for name, value in flags.items())]


class Moto(S3Store):
    """Starts in half a second, forgets everything when it ends, and takes any credentials."""

    def command(self) -> list[str]:
        return [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]


class Azurite(Store):
    def command(self) -> list[str]:
        azurite = Path(os.environ["E2E_NODE"]) / "node_modules" / ".bin" / "azurite-blob"
        address = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        return [str(azurite), *address, "--location", str(self.folder / "data"), "--silent", "--disableTelemetry"]

    def client(self):
        url = f"http://{self.address}/{AZURITE_ACCOUNT}"
        # it may be older than the version of the protocol that this package speaks
        return BlobServiceClient(url, credential=AZURITE_KEY, api_version="2024-11-04")

    def make_bucket(self) -> None:
        self.client().create_container(BUCKET)

    def section(self, **changes) -> dict:
        azure = {
            "storage_account_name": AZURITE_ACCOUNT,
            "storage_account_key": AZURITE_KEY,
            "container_name": BUCKET,
            "prefix": PREFIX,
            "endpoint_suffix": self.address,
        }
        return {"trace": {"backend": "azure", "azure": {**azure, **changes}}}

    def keys(self) -> list[str]:
        return list(self.client().get_container_client(BUCKET).list_blob_names())
