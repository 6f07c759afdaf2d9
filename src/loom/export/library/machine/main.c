/* An example: a network for 8 by 8 pictures of digits, made of JSON, trained, saved and loaded, without Python.
 *
 *   cc main.c libloom.so -o digits && ./digits samples.bin
 *
 * samples.bin: the number of samples (u32), then 64 floats of each, then its class (i32). */
#include <stdio.h>
#include <stdlib.h>

#include "libloom.h"

static const char document[] =
    "{\"format\": \"loom/1\", \"seed\": 1, \"input\": {\"shape\": [1, 8, 8]}, \"layers\": [{\"type\": \"flatten\"},"
    " {\"type\": \"dense\", \"output_size\": 64, \"activation\": \"relu\"}, {\"type\": \"layer_norm\"},"
    " {\"type\": \"dense\", \"output_size\": 10}]}";

static void *allocate(void *user, size_t nbytes) { return (void)user, malloc(nbytes); }
static void release(void *user, void *memory, size_t nbytes) { (void)user, (void)nbytes, free(memory); }

static int show(const LoomNet *net, int code) {
  fprintf(stderr, "code %d: %s\n", code, loom_error(net));
  return 1;
}

int main(int argc, char **argv) {
  const LoomAllocator memory = {allocate, release, NULL};
  LoomNet *net;
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  uint32_t samples;
  char digest[65];
  size_t nbytes;
  double loss;
  if (!file || fread(&samples, 4, 1, file) != 1) return fprintf(stderr, "digits samples.bin\n"), 1;
  float *x = malloc((size_t)samples * 64 * sizeof *x);
  int32_t *classes = malloc((size_t)samples * sizeof *classes);
  if (!x || !classes || fread(x, 256, samples, file) != samples || fread(classes, 4, samples, file) != samples) return 1;
  fclose(file);

  int code = loom_make(&net, document, &memory);
  if (!code) code = loom_train(net, "{\"optimizer\": \"adam\", \"epochs\": 3}", x, classes, NULL, samples, &loss);
  if (!code) code = loom_digest(net, digest);
  if (code) return show(net, code);
  printf("loss %.9g\n%s\n", loss, digest);

  if ((code = loom_save(net, NULL, 0, &nbytes))) return show(net, code);
  void *saved = malloc(nbytes);
  if (!saved || (code = loom_save(net, saved, nbytes, &nbytes)) || (code = loom_load(net, saved, nbytes))) return show(net, code);
  code = loom_digest(net, digest);
  printf("%s\n", digest);
  loom_free(net);
  free(saved), free(x), free(classes);
  return code;
}
