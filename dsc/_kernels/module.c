/* The extension module `dsc._kernels.compiled`: the tables of functions of all kernels. */
#include "kernels.h"

static PyObject *instructions(PyObject *self, PyObject *args) {
    (void)self;
    (void)args;
#if WITH_AVX2
    return PyUnicode_FromString(has_avx2() ? "AVX2" : "x86-64");
#elif defined(__aarch64__)
    return PyUnicode_FromString("arm64");
#else
    return PyUnicode_FromString("plain C");
#endif
}

static PyMethodDef own_methods[] = {
    {"instructions", instructions, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef *const TABLES[] = {
    own_methods,
    ans_methods,
    label_methods,
    label_model_methods,
    raster_methods,
    scan_methods,
    values_methods,
    follow_methods,
    track_methods,
    palette_methods,
    directions_methods,
    bound_methods,
    maps_methods,
    residual_methods,
    pixels_methods,
    geometry_methods,
    filters_methods,
    surfaces_methods,
};

static int fill(PyObject *module) {
    for (size_t k = 0; k < sizeof TABLES / sizeof *TABLES; k++)
        if (PyModule_AddFunctions(module, TABLES[k]) < 0) return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill},
    {0, NULL},
};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "dsc._kernels.compiled",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_compiled(void) {
    return PyModuleDef_Init(&definition);
}
