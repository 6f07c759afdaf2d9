/* Trains an exported network with samples of two files, as `PROGRAM x y samples epochs`; prints digest and loss. */
#include <stdio.h>
#include <stdlib.h>

#include "net.h"

static void *whole_file(const char *path) {
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  size_t nbytes = (size_t)ftell(file);
  rewind(file);
  void *data = malloc(nbytes);
  if (fread(data, 1, nbytes, file) != nbytes) exit(2);
  fclose(file);
  return data;
}

int main(int count, char **words) {
  net *opened;
  double loss = 0;
  uint8_t digest[32];
  void *memory = malloc(net_size());
  unsigned samples = (unsigned)atoi(words[3]), epochs = (unsigned)atoi(words[4]);
  int code = net_open(memory, net_size(), &opened);
  if (!code) code = net_train(opened, whole_file(words[1]), whole_file(words[2]), samples, epochs, &loss);
  if (!code) code = net_digest(opened, digest);
  if (code) return puts(net_message(code)), 1;
  for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
  printf(" %a\n", loss);
  return 0;
}
