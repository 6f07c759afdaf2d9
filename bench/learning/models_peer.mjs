// llama.cpp's tokens a second: node models_peer.mjs PEERS FILE PROMPT TOKENS THREADS
const [peers, file, prompt, tokens, threads] = process.argv.slice(2).map((a, i) => (i < 2 ? a : Number(a)));
const {getLlama, LlamaLogLevel} = await import(`${peers}/node_modules/node-llama-cpp/dist/index.js`);
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 512, batchSize: 512, threads: {ideal: threads, min: threads}});
const sequence = context.getSequence();
const ids = Array.from({length: prompt}, (_, i) => (7919 * i + 11) % 49152);
let prefill = Infinity, decode = Infinity;
for (let turn = 0; turn < 3; turn++) {
    await sequence.clearHistory();
    let begin = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(ids);
    prefill = Math.min(prefill, performance.now() - begin);
    const next = sequence.evaluate([5], {temperature: 0, yieldEogToken: true});
    await next.next();
    begin = performance.now();
    for (let n = 0; n < tokens; n++) await next.next();
    decode = Math.min(decode, performance.now() - begin);
}
console.log(JSON.stringify({prefill: (prompt / prefill) * 1000, decode: (tokens / decode) * 1000}));
process.exit(0);
