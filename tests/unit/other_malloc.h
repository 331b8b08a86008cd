/*
 * other_malloc.h - OTHER_MALLOC is defined if what this is built with brings its own malloc, so that glibc's cannot be asked.
 */
#ifndef TIDE_TESTS_OTHER_MALLOC_H
#define TIDE_TESTS_OTHER_MALLOC_H

#ifdef __SANITIZE_ADDRESS__
#define OTHER_MALLOC 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define OTHER_MALLOC 1
#endif
#endif

#endif
