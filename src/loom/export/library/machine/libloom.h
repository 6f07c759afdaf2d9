/* libloom: any network of a loom/1 document, without Python, to Loom's bits.
 *
 * A network is a handle; every function returns a code, and loom_error tells what is wrong and where. Handles share
 * nothing: several threads may use several. All memory is asked of the functions that loom_make is given, and given
 * back by loom_free; the functions with JSON texts below use those of LoomAllocate, or else malloc and free. */
#ifndef LIBLOOM_H
#define LIBLOOM_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum {
  LOOM_OK,
  LOOM_NULL,       /* an argument is NULL */
  LOOM_DOCUMENT,   /* the document is wrong: Loom refuses it, too */
  LOOM_ABSENT,     /* the document is right, but asks for what this library has not */
  LOOM_MEMORY,     /* no memory */
  LOOM_ARGUMENT,   /* a setting, or a number among samples or targets, is not usable */
  LOOM_NOT_FINITE, /* NaN or an infinity among samples, or in the loss: the weights are the last good ones */
  LOOM_FILE        /* a saved model is damaged, or another network's */
};

typedef struct {
  void *(*allocate)(void *user, size_t nbytes); /* NULL for no memory */
  void (*release)(void *user, void *memory, size_t nbytes);
  void *user;
} LoomAllocator;

typedef struct LoomNet LoomNet;

/* Makes a network of a document (UTF-8, ended by 0), its weights drawn by its seed. *net is NULL where there is no
 * memory for it; else it is there after an error, too, for loom_error, and is to be freed. */
int loom_make(LoomNet **net, const char *document, const LoomAllocator *allocator);
void loom_free(LoomNet *net);

/* What was wrong with the last call: "$.layers[1].output_size: unusable value: expected ..., got ...". */
const char *loom_error(const LoomNet *net);
const char *loom_error_path(const LoomNet *net); /* "$.layers[1].output_size", or "" */

/* Numbers of a sample, and of its output. */
size_t loom_input_size(const LoomNet *net);
size_t loom_output_size(const LoomNet *net);

/* y: (samples, output size). */
int loom_forward(LoomNet *net, const float *x, size_t samples, float *y);

/* Begins a training. settings: JSON, as Network.train takes them: {"loss", "optimizer", "learning_rate", "schedule",
 * "epochs", "batch_size", "seed", "shuffle", and settings of the optimizer}; NULL or {} for the defaults. */
int loom_begin(LoomNet *net, const char *settings);

/* One update of one batch. Targets: classes (one for each row of the output), or numbers of the output's shape. */
int loom_step(LoomNet *net, const float *x, const int32_t *classes, const float *numbers, size_t samples, double *loss);

/* loom_begin and all epochs; *loss: the mean of the last one. */
int loom_train(LoomNet *net, const char *settings, const float *x, const int32_t *classes, const float *numbers,
               size_t samples, double *loss);

/* The loss of samples, nothing being trained: the mean over them, in batches of batch_size. */
int loom_score(LoomNet *net, const char *settings, const float *x, const int32_t *classes, const float *numbers,
               size_t samples, double *loss);

/* 64 digits and a 0: what Network.digest() gives. */
int loom_digest(LoomNet *net, char out[65]);

/* Weights as a .safetensors file; *nbytes: how large it is. out: NULL, or memory of `room` bytes. */
int loom_save(LoomNet *net, void *out, size_t room, size_t *nbytes);
int loom_load(LoomNet *net, const void *file, size_t nbytes);

/* The first generation's functions with JSON texts, of one active network. What is returned is JSON that stays until
 * the second call after; an error is {"error": "..."}. */
const char *CreateLoomNetwork(const char *document);
const char *LoomForward(const char *inputs);
const char *LoomTrain(const char *training);
const char *LoomSaveModel(const char *id);
const char *LoomLoadModel(const char *model, const char *id);
void LoomFree(const char *text);                       /* NULL: no network is active any more */
int LoomAllocate(const LoomAllocator *allocator);      /* before any network is active: 1, else 0 */

#ifdef __cplusplus
}
#endif
#endif
