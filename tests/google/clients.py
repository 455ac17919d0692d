"""Google's own Python clients against the emulator of the tests: what they can read and write there, karute can.

    python clients.py http://127.0.0.1:8085
"""

import sys

from google.auth.credentials import AnonymousCredentials
from google.genai import Client
from google.genai.errors import ClientError
from google.genai.types import EmbedContentConfig, GenerateContentConfig, HttpOptions
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

SPREADSHEET = "emulated-spreadsheet-0001"


def main(url):
    options = {"api_endpoint": url}
    sheets = build("sheets", "v4", credentials=AnonymousCredentials(), client_options=options, static_discovery=True).spreadsheets()
    drive = build("drive", "v3", credentials=AnonymousCredentials(), client_options={"api_endpoint": f"{url}/drive/v3/"}, static_discovery=True).files()

    before = drive.get(fileId=SPREADSHEET, fields="id,name,version,trashed", supportsAllDrives=True).execute()
    assert before["id"] == SPREADSHEET and not before["trashed"], before
    tabs = [sheet["properties"]["title"] for sheet in sheets.get(spreadsheetId=SPREADSHEET).execute()["sheets"]]
    assert tabs[:3] == ["KnowledgeBase", "Embeddings", "MedicalTerms"], tabs

    values = sheets.values()
    rows = values.get(spreadsheetId=SPREADSHEET, range="KnowledgeBase!A1:C3").execute()["values"]
    assert rows[0] == ["id", "domain", "source_type"] and len(rows) == 3, rows
    ranges = values.batchGet(spreadsheetId=SPREADSHEET, ranges=["'KnowledgeBase'!A1:A2", "Embeddings!B1", "ChatHistory!Z900:Z901"]).execute()
    assert [len(found.get("values", [])) for found in ranges["valueRanges"]] == [2, 1, 0], ranges
    for wrong in ["Nowhere!A1", "KnowledgeBase!A1:B99999999"]:
        try:
            values.get(spreadsheetId=SPREADSHEET, range=wrong).execute()
            raise AssertionError(f"{wrong} was read")
        except HttpError as error:
            assert error.status_code == 400, error

    values.append(spreadsheetId=SPREADSHEET, range="ChatHistory!A1", valueInputOption="RAW", body={"values": [["s", "u", "user", "ばね", 1, True]]}).execute()
    written = values.get(spreadsheetId=SPREADSHEET, range="ChatHistory", valueRenderOption="UNFORMATTED_VALUE").execute()["values"][-1]
    assert written == ["s", "u", "user", "ばね", 1, True], written
    values.update(spreadsheetId=SPREADSHEET, range="ChatHistory!D2", valueInputOption="RAW", body={"values": [["変更"]]}).execute()
    sheets.batchUpdate(spreadsheetId=SPREADSHEET, body={"requests": [{"addSheet": {"properties": {"title": "新しい"}}}]}).execute()
    after = drive.get(fileId=SPREADSHEET, fields="version").execute()
    assert int(after["version"]) == int(before["version"]) + 3, (before, after)

    copied = drive.copy(fileId=SPREADSHEET, body={"name": "copy", "parents": ["folder"]}, supportsAllDrives=True).execute()
    found = drive.list(q="name contains 'copy' and 'folder' in parents and trashed = false", supportsAllDrives=True, includeItemsFromAllDrives=True).execute()["files"]
    assert [file["id"] for file in found] == [copied["id"]], found
    try:
        drive.copy(fileId=SPREADSHEET, body={"name": "copy"}).execute()
        raise AssertionError("a service account has no space of its own")
    except HttpError as error:
        assert "storageQuotaExceeded" in str(error), error

    google = Client(vertexai=True, project="emulated", location="asia-northeast1", credentials=Credentials(token="emulated"), http_options=HttpOptions(base_url=url, api_version="v1"))
    for model in ["gemini-embedding-001", "gemini-embedding-2", "text-multilingual-embedding-002"]:
        made = google.models.embed_content(model=model, contents="体温38.5℃", config=EmbedContentConfig(output_dimensionality=768))
        assert len(made.embeddings[0].values) == 768, model

    prompt = "--- [1] m ---\n記録 | care_record | 2026-10-05\n体温は36.5℃。食欲あり。\n--- end [1] m ---\n体温は"
    config = GenerateContentConfig(system_instruction="引用して答える。", max_output_tokens=256)
    whole = google.models.generate_content(model="gemini-3.5-flash-lite", contents=prompt, config=config)
    assert whole.text == "体温は36.5℃ [1]。", whole.text
    assert whole.candidates[0].finish_reason == "STOP" and whole.usage_metadata.thoughts_token_count == 16, whole
    pieces = list(google.models.generate_content_stream(model="gemini-3.5-flash-lite", contents=prompt, config=config))
    assert "".join(piece.text or "" for piece in pieces) == whole.text, pieces
    assert len(pieces) > 2 and pieces[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count
    try:
        google.models.generate_content(model="no-such-model", contents="体温は")
        raise AssertionError("a model that is not there answered")
    except ClientError as error:
        assert error.code == 404, error
    print("Google's clients for Sheets, Drive, embeddings and Gemini are at home here")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
