/* Runs a fuzz target over files, without libFuzzer: every file of the folders named, whole and cut short.
 * So the plain tests cover what fuzzing has found, with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

enum { CUTS = 16 };

/* An own block of exactly n bytes, so that the sanitizers see a read past the end. */
static int run_copy(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy) return -1;
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    return 0;
}

static int run_file(const char *path)
{
    int rc = -1;
    long n = 0;
    uint8_t *data = NULL;
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0 || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) != 0) goto out;
    data = malloc(n ? (size_t)n : 1);
    if (!data || fread(data, 1, (size_t)n, f) != (size_t)n) goto out;
    printf("%s\n", path);
    fflush(stdout);   /* the last line names the file of a crash */
    rc = run_copy(data, (size_t)n);
    for (int i = 0; rc == 0 && i < CUTS; i++) rc = run_copy(data, (size_t)n * (size_t)i / CUTS);
out:
    if (rc) printf("could not read %s\n", path);
    free(data);
    if (f) fclose(f);
    return rc;
}

static int run_folder(const char *dir, int *files, int *failed)
{
    DIR *d = opendir(dir);
    if (!d) {
        printf("could not open %s\n", dir);
        return -1;
    }
    for (const struct dirent *x; (x = readdir(d));) {
        char path[4096];
        if (x->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
        ++*files;
        *failed += run_file(path) != 0;
    }
    closedir(d);
    return 0;
}

int main(int argc, char **argv)
{
    int files = 0, failed = 0;
    if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        if (run_folder(argv[i], &files, &failed) != 0) failed++;
    printf("%d passed, %d failed\n", files - failed, failed);
    return files == 0 || failed != 0;
}
