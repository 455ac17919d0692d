"""Google's official storage client against the emulator of tests/support/gcs: what proves that the emulator is one.

Run by .ci/bucket with the emulator's address as the only argument. Ends with an error at the first thing that is not
as with Google.
"""

import os
import sys

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

client = storage.Client(
    project="karute", credentials=AnonymousCredentials(), client_options={"api_endpoint": sys.argv[1]}
)


def refused(error, action):
    """Fails unless the action is refused with this error."""
    try:
        action()
    except error:
        return
    raise AssertionError(f"expected {error.__name__}")


bucket = client.create_bucket("official-client")
assert client.get_bucket("official-client").name == "official-client"

# At once, with the checksum verified by the client on the way back.
small = bucket.blob("clinic/東/CURRENT")
small.upload_from_string(b"one\n")
assert small.download_as_bytes(checksum="crc32c") == b"one\n"
assert small.crc32c and small.size == 4

# In a resumable session of several requests.
content = os.urandom(3 * 1024 * 1024 + 17)
large = bucket.blob("clinic/snapshots/large.karute", chunk_size=1024 * 1024)
large.upload_from_string(content)
assert large.download_as_bytes() == content
large.chunk_size = None
assert large.download_as_bytes(checksum="crc32c") == content

# A range.
assert large.download_as_bytes(start=1000, end=1999, checksum=None) == content[1000:2000]
assert large.download_as_bytes(start=len(content) - 5, checksum=None) == content[-5:]

# Lists.
assert [blob.name for blob in client.list_blobs(bucket, prefix="clinic/snapshots/")] == [large.name]
assert len(list(client.list_blobs(bucket))) == 2

# Conditional updates: the pointer's compare-and-set.
seen = bucket.get_blob(small.name).generation
refused(PreconditionFailed, lambda: bucket.blob(small.name).upload_from_string(b"x", if_generation_match=0))
refused(PreconditionFailed, lambda: bucket.blob(small.name).upload_from_string(b"x", if_generation_match=seen + 1))
assert bucket.blob(small.name).download_as_bytes() == b"one\n"
bucket.blob(small.name).upload_from_string(b"two\n", if_generation_match=seen)
refused(PreconditionFailed, lambda: bucket.blob(small.name).upload_from_string(b"x", if_generation_match=seen))
assert bucket.blob(small.name).download_as_bytes() == b"two\n"
bucket.blob("new").upload_from_string(b"", if_generation_match=0)
refused(PreconditionFailed, lambda: bucket.blob("new").upload_from_string(b"", if_generation_match=0))

# What is not there.
refused(NotFound, lambda: bucket.blob("absent").download_as_bytes())
refused(NotFound, lambda: client.get_bucket("absent"))
small.delete()
assert bucket.get_blob(small.name) is None
print(f"gcs_client: google-cloud-storage {storage.__version__} is content with the emulator")
