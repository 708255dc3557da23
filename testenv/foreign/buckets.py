"""Buckets: a folder, or one of an S3 store by its HTTP interface."""

import datetime
import hashlib
import hmac
import http.client
import os
import re
import urllib.parse
import xml.etree.ElementTree

import wire
from wire import need


class Bucket:
    """The objects of a bucket by their keys, without its prefix."""

    def get(self, key):
        """The bytes of an object, None if it is not there."""
        raise NotImplementedError

    def get_range(self, key, at, length):
        raise NotImplementedError

    def below(self, folder):
        """The keys below a folder, in order."""
        raise NotImplementedError

    def names(self, folder, form):
        """The names in a folder of the bucket that are of a form, in order."""
        folder = folder.rstrip("/") + "/"
        return [key[len(folder):] for key in self.below(folder) if re.fullmatch(form, key[len(folder):])]

    def begin(self, where):
        data = self.get("cluster")
        need(data is not None, f"{where} has no cluster object")
        self.cluster = wire.cluster(data)
        return self


class Folder(Bucket):
    def __init__(self, path):
        self.path = path
        self.begin(path)

    def get(self, key):
        return self.get_range(key, 0, -1)

    def get_range(self, key, at, length):
        try:
            with open(os.path.join(self.path, key), "rb") as file:
                file.seek(at)
                return file.read(length)
        except FileNotFoundError:
            return None

    def names(self, folder, form):
        try:
            return sorted(name for name in os.listdir(os.path.join(self.path, folder)) if re.fullmatch(form, name))
        except FileNotFoundError:
            return []

    def below(self, folder):
        found = []
        for at, _, names in os.walk(os.path.join(self.path, folder)):
            found += [os.path.relpath(os.path.join(at, name), self.path) for name in names]
        return sorted(found)


class S3(Bucket):
    """A bucket s3://bucket/prefix?endpoint=http://host:port&region=name, with the keys of
    the environment. Requests are signed as version 4 of AWS's signatures says."""

    def __init__(self, where):
        url = urllib.parse.urlsplit(where)
        options = dict(urllib.parse.parse_qsl(url.query))
        end = urllib.parse.urlsplit(options["endpoint"])
        self.host, self.region = end.netloc, options.get("region", "us-east-1")
        self.bucket, self.prefix = url.netloc, (url.path.strip("/") + "/").lstrip("/")
        connect = http.client.HTTPSConnection if end.scheme == "https" else http.client.HTTPConnection
        self.http = connect(end.netloc, timeout=60)
        self.begin(where)

    def get(self, key):
        return self.ask("/" + self.bucket + "/" + self.prefix + key, {}, {})

    def get_range(self, key, at, length):
        return self.ask("/" + self.bucket + "/" + self.prefix + key, {}, {"range": f"bytes={at}-{at + length - 1}"})

    def below(self, folder):
        found, query = [], {"list-type": "2", "prefix": self.prefix + folder.rstrip("/") + "/"}
        while True:
            page = xml.etree.ElementTree.fromstring(self.ask("/" + self.bucket, query, {}))
            found += [key.text[len(self.prefix):] for key in page.findall("./{*}Contents/{*}Key")]
            more = page.find("./{*}NextContinuationToken")
            if more is None:
                return sorted(found)
            query["continuation-token"] = more.text

    def ask(self, path, query, headers):
        """The answer to a GET, None if there is no such object. Anything else is an error."""
        path = urllib.parse.quote(path)
        text = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(v, safe='')}" for k, v in sorted(query.items()))
        self.http.request("GET", path + ("?" + text if text else ""), headers=self.signed(path, text, headers))
        answer = self.http.getresponse()
        body = answer.read()
        if answer.status in (200, 206):
            return body
        if answer.status == 404 and b"NoSuchKey" in body:
            return None
        raise OSError(f"GET {path}: status {answer.status}: {body[:300]!r}")

    def signed(self, path, query, headers):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        none = hashlib.sha256(b"").hexdigest()
        headers = {**headers, "host": self.host, "x-amz-date": now, "x-amz-content-sha256": none}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{none}"
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        for part in [*scope.split("/"), text]:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        who = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={names}, Signature={key.hex()}"
        return headers


def open_bucket(where):
    return S3(where) if where.startswith("s3://") else Folder(where)
