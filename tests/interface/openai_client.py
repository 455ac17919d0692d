"""OpenAI's own Python client against karute's /v1, whole and streamed: python openai_client.py http://127.0.0.1:8000"""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0, timeout=30)

models = [model.id for model in client.models.list()]
assert models[0] == "karute", models

question = [{"role": "user", "content": "久保田さんのバルーンの交換はいつですか"}]
whole = client.chat.completions.create(model="karute", messages=question)
said = whole.choices[0].message.content
assert said and whole.choices[0].finish_reason == "stop", whole
citations = whole.model_extra["karute"]["citations"]
assert citations and citations[0]["title"].startswith("久保田"), citations

pieces, extra = [], {}
for chunk in client.chat.completions.create(model="karute", messages=question, stream=True):
    pieces.append(chunk.choices[0].delta.content or "")
    extra.update(chunk.model_extra.get("karute") or {})
assert "".join(pieces) == said, pieces
assert extra["citations"] == citations and extra["context"], extra

for encoding in ("float", "base64"):
    found = client.embeddings.create(model="karute", input=["体温", "血圧"], encoding_format=encoding)
    assert len(found.data) == 2 and found.data[1].index == 1, found
packed = client.embeddings.create(model="karute", input="体温").data[0].embedding
plain = client.embeddings.create(model="karute", input="体温", encoding_format="float").data[0].embedding
assert max(abs(a - b) for a, b in zip(packed, plain)) < 1e-6, "the client unpacks what was packed"

try:
    client.chat.completions.create(model="karute", messages=[])
except openai.UnprocessableEntityError:
    pass
else:
    raise SystemExit("an empty conversation was answered")
print("OpenAI's client: done")
