/* driver.c - runs a fuzz target over files and folders of files, without libFuzzer: so the corpus is a test everywhere. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

static int run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	if (!file || fstat(fileno(file), &st) != 0) {
		fprintf(stderr, "cannot read '%s'\n", path);
		return 1;
	}
	/* exactly as many bytes as there are, so that reading past the end is seen */
	uint8_t *bytes = malloc((size_t)st.st_size + (st.st_size == 0));
	size_t len = bytes ? fread(bytes, 1, (size_t)st.st_size, file) : 0;
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, len);
	free(bytes);
	inputs++;
	return 0;
}

static int run(const char *path)
{
	struct dirent **entries;
	int failed = 0, n = scandir(path, &entries, NULL, alphasort);
	if (n < 0)
		return run_file(path);
	for (int i = 0; i < n; i++) {
		char name[4096];
		snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			failed |= run(name);
		free(entries[i]);
	}
	free(entries);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = argc < 2;
	for (int i = 1; i < argc; i++)
		failed |= run(argv[i]);
	printf("%lu inputs\n", inputs);
	return failed || inputs == 0;
}
