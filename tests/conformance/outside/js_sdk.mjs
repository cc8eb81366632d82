// The JavaScript SDK (@google/genai), unmodified, on the emulator. Run by test_js_sdk.py.
// What does not work is a check, too: it fails when it begins to work. docs/conformance.md lists the same.

import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from 'node:test';

const {GoogleGenAI} = createRequire(join(process.env.JS_SDK, 'package.json'))('@google/genai');
const MODEL = 'gemini-2.5-flash';
const EMBEDDER = 'gemini-embedding-001';
const folder = mkdtempSync(join(tmpdir(), 'js-sdk-'));

const row = (key, text = 'hi') => JSON.stringify({key, request: {contents: [{parts: [{text}]}]}});
const inline = (key, text) => ({contents: [{role: 'user', parts: [{text}]}], metadata: {key}});
const bytes = (...lines) => new Blob(lines.map((line) => line + '\n'));
const refused = (status) => (error) => error.status === status;

for (const apiVersion of ['v1', 'v1beta', 'v1alpha']) {
  const ai = new GoogleGenAI({apiKey: 'emulator', httpOptions: {baseUrl: process.env.EMULATOR, apiVersion}});
  const check = (name, body) => test(`${apiVersion}: ${name}`, body);
  const failing = (name, whose, expected, body) => check(`${name} (fails, ${whose})`, () => assert.rejects(body, expected));

  const upload = (...lines) => ai.files.upload({file: bytes(...lines), config: {mimeType: 'application/jsonl'}});

  const ended = async (job) => {
    while (!/SUCCEEDED|FAILED|CANCELLED|EXPIRED/.test(job.state)) {
      job = await ai.batches.get({name: job.name});
    }
    return job;
  };

  const downloaded = async (file) => {
    const path = join(folder, `${apiVersion}-${Math.random()}`);
    await ai.files.download({file, downloadPath: path});
    return readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
  };

  const forced = async (job, state, error) => {
    const url = `${process.env.EMULATOR}/emulator/jobs/${job.name.replace('batches/', '')}`;
    const answer = await fetch(url, {method: 'POST', body: JSON.stringify({state, ...(error ? {error} : {})})});
    assert.equal(answer.status, 200);
  };

  check('a blob is uploaded with its name and type', async () => {
    const config = {mimeType: 'text/plain', displayName: 'größe'};
    const file = await ai.files.upload({file: new Blob(['12345']), config});
    assert.deepEqual([file.displayName, file.mimeType, file.sizeBytes, file.state], ['größe', 'text/plain', '5', 'ACTIVE']);
  });

  check('a path is uploaded', async () => {
    writeFileSync(join(folder, 'a.txt'), 'text');
    const file = await ai.files.upload({file: join(folder, 'a.txt')});
    assert.deepEqual([file.mimeType, file.sizeBytes], ['text/plain', '4']);
  });

  check('a file of several chunks arrives whole', async () => {
    const file = await ai.files.upload({file: new Blob([new Uint8Array(17 << 20)]), config: {mimeType: 'text/plain'}});
    assert.equal(file.sizeBytes, String(17 << 20));
  });

  failing('an empty file is uploaded', 'theirs: no byte is sent, so the upload is not finished', SyntaxError, async () => {
    const file = await ai.files.upload({file: new Blob([]), config: {mimeType: 'text/plain'}});
    assert.match(file.name, /^files\//);
  });

  check('a file gets the name that was asked for, once', async () => {
    const config = {mimeType: 'text/plain', name: `mine-${apiVersion}`};
    const file = await ai.files.upload({file: new Blob(['x']), config});
    assert.equal(file.name, `files/mine-${apiVersion}`);
    await assert.rejects(ai.files.upload({file: new Blob(['x']), config}), refused(409));
  });

  check('a kind of file that is not supported is refused', async () => {
    const config = {mimeType: 'bad/mime_type'};
    await assert.rejects(ai.files.upload({file: new Blob(['x']), config}), /Unsupported MIME type: bad/);
  });

  check('files are got, listed page by page, and deleted', async () => {
    const names = [];
    for (let at = 0; at < 3; at++) names.push((await upload(row('a'))).name);
    const listed = [];
    for await (const file of await ai.files.list({config: {pageSize: 2}})) listed.push(file.name);
    assert.ok(names.every((name) => listed.includes(name)));
    assert.equal((await ai.files.get({name: names[0]})).name, names[0]);
    await ai.files.delete({name: names[0]});
    await assert.rejects(ai.files.get({name: names[0]}), refused(403));
  });

  check('an uploaded file cannot be downloaded', async () => {
    const file = await upload(row('a'));
    await assert.rejects(downloaded(file.name), refused(400));
  });

  failing('a file is downloaded by its record', 'ours: its address is http, and the SDK knows https only', refused(404), async () => {
    const job = await ended(await ai.batches.create({model: MODEL, src: (await upload(row('a'))).name}));
    await downloaded(await ai.files.get({name: job.dest.fileName}));
  });

  check('a batch of a file is polled, downloaded and read', async () => {
    const file = await upload(row('a', 'one'), row('b', 'two'));
    const job = await ended(await ai.batches.create({model: MODEL, src: file.name, config: {displayName: 'd'}}));
    assert.deepEqual([job.state, job.displayName, job.model], ['JOB_STATE_SUCCEEDED', 'd', `models/${MODEL}`]);
    const rows = await downloaded(job.dest.fileName);
    assert.deepEqual(
      rows.map((each) => [each.key, each.response.candidates[0].content.parts[0].text]),
      [['a', 'Answer to: one'], ['b', 'Answer to: two']],
    );
  });

  check('a batch of inlined requests comes back with their metadata', async () => {
    const src = [inline('a', 'one'), {...inline('b', 'two'), config: {temperature: 0.5, systemInstruction: 'brief'}}];
    const job = await ended(await ai.batches.create({model: MODEL, src}));
    assert.deepEqual(
      job.dest.inlinedResponses.map((each) => [each.metadata.key, each.response.candidates[0].content.parts[0].text]),
      [['a', 'Answer to: one'], ['b', 'Answer to: two']],
    );
  });

  check('a response schema is honoured', async () => {
    const responseSchema = {type: 'OBJECT', properties: {mood: {type: 'STRING', enum: ['good']}}, required: ['mood']};
    const config = {responseMimeType: 'application/json', responseSchema};
    const job = await ended(await ai.batches.create({model: MODEL, src: [{...inline('a', 'x'), config}]}));
    const {text} = job.dest.inlinedResponses[0].response.candidates[0].content.parts[0];
    assert.deepEqual(JSON.parse(text), {mood: 'good'});
  });

  check('inlined embeddings come back as vectors with their tokens', async () => {
    const src = {inlinedRequests: {contents: ['a', 'b'], config: {outputDimensionality: 4}}};
    const job = await ended(await ai.batches.createEmbeddings({model: EMBEDDER, src}));
    assert.deepEqual(
      job.dest.inlinedEmbedContentResponses.map(({response}) => [response.embedding.values.length, response.tokenCount]),
      [[4, '1'], [4, '1']],
    );
  });

  check('embeddings of a file are read from the results', async () => {
    const file = await upload(JSON.stringify({key: 'a', request: {content: {parts: [{text: 'x'}]}}}));
    const job = await ended(await ai.batches.createEmbeddings({model: EMBEDDER, src: {fileName: file.name}}));
    const [answer] = await downloaded(job.dest.fileName);
    assert.deepEqual([answer.key, answer.response.embedding.values.length], ['a', 3072]);
  });

  check('batches are listed page by page', async () => {
    const names = [];
    for (let at = 0; at < 3; at++) names.push((await ai.batches.create({model: MODEL, src: [inline('a', 'x')]})).name);
    const listed = [];
    for await (const job of await ai.batches.list({config: {pageSize: 2}})) listed.push(job.name);
    assert.ok(names.every((name) => listed.includes(name)));
  });

  check('a pending batch is cancelled', async () => {
    const job = await ai.batches.create({model: MODEL, src: [inline('a', 'x')]});
    await forced(job, 'STUCK');
    await ai.batches.cancel({name: job.name});
    assert.equal((await ai.batches.get({name: job.name})).state, 'JOB_STATE_CANCELLED');
  });

  check('a batch is deleted', async () => {
    const job = await ai.batches.create({model: MODEL, src: [inline('a', 'x')]});
    await ai.batches.delete({name: job.name});
    await assert.rejects(ai.batches.get({name: job.name}), refused(404));
  });

  check('an expired batch is expired', async () => {
    const job = await ai.batches.create({model: MODEL, src: [inline('a', 'x')]});
    await forced(job, 'EXPIRED');
    assert.equal((await ai.batches.get({name: job.name})).state, 'JOB_STATE_EXPIRED');
  });

  failing('a failed batch says why', 'theirs: the SDK does not read the error', assert.AssertionError, async () => {
    const job = await ai.batches.create({model: MODEL, src: [inline('a', 'x')]});
    await forced(job, 'FAILED', {code: 8, message: 'quota'});
    const failed = await ai.batches.get({name: job.name});
    assert.equal(failed.state, 'JOB_STATE_FAILED');
    assert.equal(failed.error?.message, 'quota');
  });

  failing('counts of a batch are shown', 'theirs: the SDK does not read batchStats', assert.AssertionError, async () => {
    const job = await ended(await ai.batches.create({model: MODEL, src: [inline('a', 'x')]}));
    assert.equal(job.completionStats?.successfulCount, '1');
  });

  check('a results file cannot be deleted', async () => {
    const job = await ended(await ai.batches.create({model: MODEL, src: (await upload(row('a'))).name}));
    await assert.rejects(ai.files.delete({name: job.dest.fileName}), refused(400));
  });

  check('a batch of a file that is not there is refused', async () => {
    await assert.rejects(ai.batches.create({model: MODEL, src: 'files/none'}), refused(403));
  });

  check('a batch of a broken row is refused', async () => {
    const file = await upload('{"key": "a", "request": {"contents": [], "wrong": 1}}');
    await assert.rejects(ai.batches.create({model: MODEL, src: file.name}), refused(400));
  });

  check('a model that is not there is refused', async () => {
    await assert.rejects(ai.batches.create({model: 'gemini-none', src: [inline('a', 'x')]}), refused(404));
  });

  check('models are listed and tokens counted', async () => {
    const names = [];
    for await (const model of await ai.models.list({config: {pageSize: 5}})) names.push(model.name);
    assert.ok(names.includes(`models/${MODEL}`));
    assert.equal((await ai.models.countTokens({model: MODEL, contents: 'four and four'})).totalTokens, 4);
  });
}
