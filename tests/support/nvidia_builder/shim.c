/* Lets the Python bindings of TensorRT load TensorRT for RTX, whose libraries PyPI has.
   Compiled three times, with -DINFER, -DPLUGIN and -DPARSER: see __init__.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *library(const char *name) {
  void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!handle) { fprintf(stderr, "%s\n", dlerror()); abort(); }
  return handle;
}
static void *call(int parser, const char *symbol) {
  static void *infer, *onnx;
  if (!infer) infer = library("libtensorrt_rtx.so.1");
  if (parser && !onnx) onnx = library("libtensorrt_onnxparser_rtx.so.1");
  return dlsym(parser ? onnx : infer, symbol);
}
#define INFER_VERSION (((int (*)(void))call(0, "getInferLibVersion"))())
#define PARSER_VERSION (((int (*)(void))call(1, "getNvOnnxParserVersion"))())

#ifdef INFER
void *createInferBuilder_INTERNAL(void *l, int v) { (void)v; return ((void *(*)(void *, int))call(0, "createInferBuilder_INTERNAL"))(l, INFER_VERSION); }
void *createInferRuntime_INTERNAL(void *l, int v) { (void)v; return ((void *(*)(void *, int))call(0, "createInferRuntime_INTERNAL"))(l, INFER_VERSION); }
void *createInferRefitter_INTERNAL(void *e, void *l, int v) { (void)v; return ((void *(*)(void *, void *, int))call(0, "createInferRefitter_INTERNAL"))(e, l, INFER_VERSION); }
void *getPluginRegistry(void) { return ((void *(*)(void))call(0, "getPluginRegistry"))(); }
void *getBuilderPluginRegistry(int c) { return ((void *(*)(int))call(0, "getBuilderPluginRegistry"))(c); }
int getInferLibVersion(void) { return INFER_VERSION; }
void *getLogger(void) { return ((void *(*)(void))call(0, "getLogger"))(); }
#endif
#ifdef PLUGIN
_Bool initLibNvInferPlugins(void *l, const char *n) { (void)l; (void)n; return 1; }
#endif
#ifdef PARSER
void *createNvOnnxParser_INTERNAL(void *n, void *l, int v) { (void)v; return ((void *(*)(void *, void *, int))call(1, "createNvOnnxParser_INTERNAL"))(n, l, PARSER_VERSION); }
void *createNvOnnxParserRefitter_INTERNAL(void *n, void *l, int v) { (void)v; return ((void *(*)(void *, void *, int))call(1, "createNvOnnxParserRefitter_INTERNAL"))(n, l, PARSER_VERSION); }
int getNvOnnxParserVersion(void) { return PARSER_VERSION; }
#endif
