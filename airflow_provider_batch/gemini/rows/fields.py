"""The fields of requests, with the JSON type of each.

Those of the API's published document, revision 20251218, with a few that official clients send since. What lies
inside tools, schemas and function arguments is not here.
"""

from __future__ import annotations

REQUEST = {
    "model": "string",
    "contents": "any",
    "systemInstruction": "any",
    "generationConfig": "object",
    "tools": "list",
    "toolConfig": "object",
    "safetySettings": "list",
    "cachedContent": "string",
}

GENERATION_CONFIG = {
    "candidateCount": "int32",
    "stopSequences": "list",
    "maxOutputTokens": "int32",
    "temperature": "number",
    "topP": "number",
    "topK": "int32",
    "seed": "int32",
    "responseMimeType": "string",
    "responseSchema": "object",
    "_responseJsonSchema": "any",
    "responseJsonSchema": "any",
    "presencePenalty": "number",
    "frequencyPenalty": "number",
    "responseLogprobs": "boolean",
    "logprobs": "int32",
    "enableEnhancedCivicAnswers": "boolean",
    "responseModalities": "list",
    "speechConfig": "object",
    "thinkingConfig": "object",
    "imageConfig": "object",
    "mediaResolution": "string",
    # Sent by official clients, not in the published document yet.
    "responseFormat": "any",
    "audioTranscriptionConfig": "any",
    "translationConfig": "any",
}

SCHEMAS = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")

EMBED = {
    "model": "string",
    "content": "any",
    "taskType": "string",
    "title": "string",
    "outputDimensionality": "int32",
}

THINKING = {"includeThoughts": "boolean", "thinkingBudget": "int32", "thinkingLevel": "string"}

CONTENT = {"parts": "list", "role": "string"}

BLOB = {"mimeType": "string", "data": "string", "displayName": "string"}
FILE = {"mimeType": "string", "fileUri": "string", "displayName": "string"}

DATA = {
    "text": "string",
    "inlineData": "object",
    "fileData": "object",
    "functionCall": "object",
    "functionResponse": "object",
    "executableCode": "object",
    "codeExecutionResult": "object",
    # Sent by official clients, not in the published document yet.
    "toolCall": "any",
    "toolResponse": "any",
}

PART = {
    **DATA,
    "videoMetadata": "object",
    "thought": "boolean",
    "thoughtSignature": "string",
    "partMetadata": "object",
    "mediaResolution": "any",
    # As above.
    "mediaProcessing": "any",
    "audioTranscription": "any",
}

CALLS = DATA.keys() - {"text", "inlineData", "fileData"}

CONFIG_PATH = "request.generationConfig"
THINKING_PATH = f"{CONFIG_PATH}.thinkingConfig"

HOMES = {
    **{name: f"{THINKING_PATH}.{name}" for name in THINKING},
    **{name: f"{CONFIG_PATH}.{name}" for name in GENERATION_CONFIG},
    **{name: f"request.{name}" for name in REQUEST},
    # Names that other clients and APIs have for the same thing.
    "config": CONFIG_PATH,
    "parameters": CONFIG_PATH,
    "maxTokens": f"{CONFIG_PATH}.maxOutputTokens",
    "maxCompletionTokens": f"{CONFIG_PATH}.maxOutputTokens",
    "stop": f"{CONFIG_PATH}.stopSequences",
    "n": f"{CONFIG_PATH}.candidateCount",
    "thinking": THINKING_PATH,
    "messages": "request.contents",
    "prompt": "request.contents",
    "content": "request.contents",
    "system": "request.systemInstruction",
    "systemPrompt": "request.systemInstruction",
    "instructions": "request.systemInstruction",
}
