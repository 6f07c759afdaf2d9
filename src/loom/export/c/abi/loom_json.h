/* Networks of this library behind a few functions with JSON texts. One of them is active at a time.
 *
 * What is returned is JSON in memory of the library, which stays as it is until the second call after; an error is
 * {"error": "..."}, and everything is as it was before. One thread at a time may call. Nothing is allocated: all lies in
 * a static block, or in one that LoomMemory was given. */
#ifndef LOOM_JSON_H
#define LOOM_JSON_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Makes a network active, with the weights it was exported with: by its document (JSON), or by its name. */
const char *CreateLoomNetwork(const char *document);

/* The answer to a sample, or to a list of samples: arrays of numbers; of several inputs or outputs objects of them. */
const char *LoomForward(const char *inputs);

/* {"epochs": 3, "data": [{"input": [...], "target": [...]}, ...]}: whole epochs; tells the loss and the digest. */
const char *LoomTrain(const char *training);

/* The active network as a bundle (JSON) under an id, which Loom reads, too; it remembers how far the training is. */
const char *LoomSaveModel(const char *id);

/* Makes the network of a bundle active, with its weights; id: which model of several, or NULL. */
const char *LoomLoadModel(const char *bundle, const char *id);

/* How far answers are from expected numbers, or classes: two lists of one length. */
const char *LoomEvaluateNetwork(const char *inputs, const char *expected);

/* NULL: no network is active any more. A text need not be freed; it may be passed. */
void LoomFree(const char *text);

/* Another block: 1 if all fits, else 0, and nothing changed. NULL: the static one. No network is active then. */
int LoomMemory(void *memory, size_t nbytes);

/* Bytes that are enough for LoomMemory. */
size_t LoomMemoryNeeded(void);

#ifdef __cplusplus
}
#endif
#endif
