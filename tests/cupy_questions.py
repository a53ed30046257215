"""Questions to CuPy whose answers take a GPU, put to whichever CuPy is imported.

`cupy_answers.json` holds what a real one said, to which `test_cupy_answers.py` holds the stand-in. On a machine
with a GPU, `python tests/cupy_questions.py > tests/cupy_answers.json` asks again.
"""

import copy
import json
import operator
import pickle
import sys
import warnings

import numpy as np

UNARY = """
abs acos acosh arccos asin atan bitwise_invert ceil conj cos cosh exp expm1 floor invert isfinite isinf isnan log
log10 log1p log2 logical_not negative positive reciprocal rint round sign signbit sin sinh sqrt square tan tanh trunc
""".split()

BINARY = """
add subtract multiply divide floor_divide remainder power maximum minimum fmax logaddexp hypot atan2 copysign
equal greater less_equal logical_and logical_xor bitwise_and left_shift
""".split()

PAIRS = """
f,f f,d h,f f,i u,u u,i b,b b,u f,2 f,2.5 2,f u,200 u,300 u,-1 i,2.5 b,1 b,1.5 h,1e6 f,True f,1j
f,np.float64(2) h,np.float32(2) u,np.int64(5) i,np.float32(2) np.float64(2),f
f,z z,z e,f[0] f,f[0] f,f[:,0] f,f[:,:1]
""".split()

STRANGERS = "[1,2,3] None 'x' np.ones(3) np.ones(()) slice(2) object()".split()

REDUCTIONS = "sum prod max min argmax argmin mean std var any all count_nonzero".split()

HOW = ["", "axis=0", "axis=-1", "axis=(0, 1)", "axis=()", "axis=0, keepdims=True", "axis=2", "axis=(0, 0)"]

QUESTIONS = [
    # Products
    *(f"{x} @ {y}" for x, y in (pair.split(",") for pair in
      "f,f.T d,d.T h,h.T i,i.T u,u.T b,b.T f,d.T h,f.T u,f.T u,i.T f[0],f[0] f,f[0] f[0],f.T f,f f,z z,z z,f 2,f f,2".split())),
    "e @ f.T", "f @ e.T", "f[:, :0] @ f.T[:0]", "f.T @ f", "f[None] @ f.T", "cupy.stack([f, f]) @ f.T",
    "f.reshape(2, 1, 3) @ f.T[None]", "cupy.stack([f, f]) @ cupy.stack([f, f, f]).mT", "f[::-1, ::-1] @ f.T",
    "cupy.matmul(f, f.T, out=cupy.empty((2, 2), 'float32'))", "cupy.matmul(f, f.T, out=cupy.empty((3, 2), 'float32'))",
    "cupy.matmul(f, f.T, out=cupy.empty((2, 2), 'float64'))", "cupy.matmul(f, f.T, out=cupy.empty((2, 2), 'int32'))",
    "cupy.matmul(f, f.T, dtype='float64')", "cupy.dot(f, f.T)", "cupy.dot(f, 2)", "f.dot(f[0])",
    "cupy.tensordot(f, f.T, axes=1)", "cupy.einsum('ij,kj->ik', f, f)", "cupy.vecdot(f, f)", "xp.vecdot(f, f)",
    "xp.matmul(f, f.T)", "xp.matrix_transpose(f)",
    # In place and into
    *(f"operator.{name}({x}, {y})" for name in ("iadd", "imul", "itruediv", "imatmul") for x, y in
      (pair.split(",") for pair in "f,f f,d f,i i,f i,2 i,2.5 u,300 h,1e6 f,2 f,f[0] f[0],f f,np.float64(2) b,1 z,2 f,f.T".split())),
    "operator.isub(u, -1)", "operator.imul(f[:, 1:], 2), f", "operator.iadd(f, [1, 2, 3])", "operator.iadd(f, None)",
    "operator.iadd(f.T, f.T), f", "operator.iadd(f[:, ::-1], f), f", "operator.iadd(cupy.broadcast_to(f[0], (2, 3)), 1)",
    "cupy.add(f, 1, out=f) is f", "cupy.add(f, 1, out=d) is d", "cupy.add(d, 1, out=f)", "cupy.add(f, 1, out=i)",
    "cupy.add(f, 1, out=f[0])", "cupy.add(f[0], 1, out=f)", "cupy.exp(i, out=f)", "cupy.exp(f, f)", "cupy.exp(f, dtype='float64')",
    "cupy.maximum(f, 0, f)", "cupy.maximum(f, 0, where=b)", "cupy.add(f, 1, casting='no')", "cupy.exp(f, 1)", "cupy.exp()",
    "cupy.add(f)", "cupy.add(f, f.T)", "cupy.clip(f, 0, 1)", "cupy.clip(f, 0, None)", "cupy.clip(f, None, None)",
    "cupy.clip(u, -1, 300)", "cupy.clip(f, f[0], 2)", "f.clip(min=0)", "xp.clip(f, 0, 1)", "xp.clip(f, min=f[0])", "xp.clip(i, 0.5, 1)",
    # Where and nan
    "cupy.where(b, f, 0)", "cupy.where(b, f, 0.5)", "cupy.where(b, f, i)", "cupy.where(b, 1, 0)", "cupy.where(True, f, 0)",
    "cupy.where(b, f, [1, 2, 3])", "cupy.where(b, f, np.float64(2))", "cupy.where(f, f, f)", "cupy.where(b)", "cupy.where(b, u, 300)",
    *(f"cupy.{name}({x})" for name in ("max", "min", "argmax", "argmin", "sum", "sort", "sign") for x in ("n", "n, -1")),
    "cupy.maximum(n, 0)", "cupy.minimum(0, n)", "cupy.fmax(n, 0)", "cupy.exp(n)", "cupy.log(f)", "cupy.divide(f, 0)", "cupy.sqrt(f)",
    "i // 0", "i % 0", "u // 0", "i / 0", "cupy.isnan(n)", "cupy.nan_to_num(n)", "cupy.array_equal(n, n)", "cupy.array_equal(n, n, equal_nan=True)",
    "cupy.allclose(f, f)", "cupy.isclose(n, n)", "cupy.allclose(f, d)", "n == n", "n.any(), n.all()",
    # Reductions
    *(f"cupy.{name}({', '.join(filter(None, ('f', how)))})" for name in REDUCTIONS for how in HOW),
    *(f"cupy.{name}({x})" for name in REDUCTIONS for x in ("h", "i", "u", "b", "e", "e, axis=0", "e, axis=1", "z")),
    "f.sum(dtype='float64')", "u.sum(dtype='uint8')", "u.sum()", "cupy.sum(u.astype('uint32'))", "cupy.sum(cupy.ones(3, 'int8'))",
    "cupy.prod(cupy.ones(3, 'int32'))", "h.mean()", "cupy.mean(u, dtype='float32')", "cupy.mean(f, out=cupy.empty((), 'float64'))",
    "f.sum(out=z)", "cupy.max(f, axis=0, out=f[0])", "cupy.argmax(f, axis=1, keepdims=True)", "cupy.argmax(f, axis=(0, 1))",
    "cupy.argmax(f, axis=-1).dtype, cupy.argmax(u, axis=-1).dtype", "cupy.argmax(cupy.asarray([2, 2, 1]))", "cupy.median(f)", "cupy.std(f, correction=1)",
    "cupy.cumsum(f)", "cupy.cumsum(f, axis=1)", "cupy.cumsum(u)", "cupy.cumprod(f, axis=0)", "cupy.cumulative_sum(f, axis=0)", "cupy.diff(f)",
    "xp.sum(f)", "xp.sum(u)", "xp.sum(h)", "xp.mean(f)", "xp.prod(u)", "xp.std(f, correction=1.0)", "xp.max(f, axis=-1, keepdims=True)", "xp.cumulative_sum(f, axis=0)",
    # Views and shapes
    *(f"f.{call}" for call in """T mT real imag flatten() ravel() reshape(3,2) reshape(-1) reshape((6,)) reshape(4) reshape(-1,-1) reshape(4,-1)
      squeeze() squeeze(0) swapaxes(0,1) swapaxes(0,2) transpose() transpose(1,0) transpose(0,0) copy() view() view('int32') view('float64')
      astype('float32',copy=False) astype('float32') astype('int8') astype('bool') astype('complex64') astype('S1') astype(object)
      astype('float64',casting='no') astype('int32',casting='same_kind') item() item(0) tolist() tobytes() fill(2) get() nonzero() repeat(2,axis=1)
      take(0,axis=1) take(5,axis=1) take([0,-1],axis=1) diagonal() trace() sort() argsort() argmax() round(1) conj() max(axis=1,initial=9)""".split()),
    "f.T.flatten()", "f.T.ravel()", "f.T.reshape(-1)", "f.T.copy()", "f.T.copy().strides, f.T.copy('K').strides, f.T.astype('float64').strides",
    "(f.T + 1).strides, cupy.exp(f.T).strides, (f.T + f.T).strides, (f.T * f[0][:, None]).strides",
    "cupy.zeros_like(f.T).strides, cupy.empty((2, 3), order='F').strides, cupy.array(f.T, order='C').strides",
    "f.squeeze(2)", "f[None].squeeze()", "cupy.squeeze(f[None], axis=0)", "cupy.expand_dims(f, 2)", "cupy.expand_dims(f, 5)", "cupy.expand_dims(f, (0, 1))",
    "cupy.broadcast_to(f[0], (2, 3))", "cupy.broadcast_to(f, (2, 2))", "cupy.broadcast_to(f[0], (2, 3)).flags.c_contiguous", "cupy.broadcast_arrays(f, f[0])",
    "cupy.concatenate([f, f])", "cupy.concatenate([f, d])", "cupy.concatenate([f, i], axis=1)", "cupy.concatenate([f, f[0]])", "cupy.concatenate([])",
    "cupy.concatenate([f, f], axis=2)", "cupy.concatenate([f, np.ones((1, 3))])", "cupy.concatenate([f, f[:, :2]])", "cupy.concatenate((e, f))", "cupy.concatenate([f, u])",
    "cupy.stack([f, f])", "cupy.stack([f, d], axis=-1)", "cupy.stack([f, f[0]])", "cupy.stack([])", "cupy.vstack([f, f[0]])", "cupy.hstack([f, f])", "cupy.split(f, 2)",
    "cupy.split(f, 3)", "cupy.array_split(f, 3)", "cupy.flip(f)", "cupy.flip(f, axis=1)", "cupy.roll(f, 1)", "cupy.roll(f, 1, axis=1)", "cupy.moveaxis(f, 0, 1)", "cupy.moveaxis(f, 0, 3)",
    "cupy.permute_dims(f, (1, 0))", "cupy.transpose(f, (1, 0))", "cupy.tile(f, (1, 2))", "cupy.repeat(f, 2)", "cupy.tril(f)", "cupy.triu(f, 1)", "cupy.diag(f)", "cupy.pad(f, 1)",
    "cupy.outer(f[0], f[1])", "cupy.kron(f, f[0])", "cupy.meshgrid(f[0], f[1])", "cupy.meshgrid(f[0], f[1], indexing='ij')", "cupy.ravel(f)", "cupy.reshape(f, (3, 2))", "cupy.reshape(f.T, (6,))",
    "xp.reshape(f, (6,), copy=False)", "xp.reshape(f, (6,), copy=True)", "xp.reshape(f.T, (6,), copy=False)", "xp.permute_dims(f, (1, 0))", "xp.unstack(f)", "xp.concat([f, d])", "xp.concat([f, f], axis=None)",
    "xp.stack([f, f])", "xp.squeeze(f[None], axis=0)", "xp.squeeze(f, axis=0)", "xp.expand_dims(f)", "xp.broadcast_to(f[0], (2, 3))", "xp.flip(f)", "xp.tile(f, (2, 1))", "xp.repeat(f, 2)", "xp.moveaxis(f, 0, 1)",
    # Sorting and sets
    "cupy.sort(f)", "cupy.sort(f, axis=0)", "cupy.sort(f, axis=None)", "cupy.sort(z)", "cupy.argsort(f)", "cupy.argsort(f, axis=0)", "cupy.sort(f, kind='stable')", "cupy.sort(b)", "cupy.unique(i // 2)",
    "cupy.unique(f, return_inverse=True)", "cupy.unique_values(i)", "cupy.unique_counts(u)", "cupy.searchsorted(f[0], 1)", "cupy.searchsorted(cupy.sort(f[0]), f[1])", "cupy.nonzero(f)", "cupy.nonzero(z)", "cupy.count_nonzero(f, axis=0)",
    "cupy.argsort(f, stable=True)", "cupy.isin(i, i[0])", "xp.sort(f, descending=True)", "xp.argsort(f, stable=True)", "xp.unique_values(i)", "xp.unique_all(i)", "xp.nonzero(z)", "xp.searchsorted(f[0], f[1])", "xp.isin(i, 3)",
    "cupy.take(f, cupy.asarray([0, 1]), axis=1)", "cupy.take(f, cupy.asarray([7]), axis=1)", "cupy.take(f, 1)", "cupy.take(f, [0, 1], axis=1)", "cupy.take(f, np.asarray([0, 1]), axis=1)",
    "cupy.take_along_axis(f, cupy.argsort(f, axis=1), axis=1)", "cupy.take_along_axis(f, cupy.asarray([[9], [0]]), axis=1)", "xp.take(f, cupy.asarray([0]), axis=0)", "xp.take_along_axis(f, i % 2, axis=1)", "cupy.diagonal(f)", "cupy.trace(f)",
    # Indices
    *(f"f[{index}]" for index in """0 -1 5 0,0 0,0,0 0,5 :,1 ...,0 None ...,None 1:1 ::-1 :,::-2 b f>0 ~b i i%2 [0,1] [0,5] [] [[0]] b[0] b[:,0] cupy.argmax(f,axis=1) cupy.arange(2),cupy.argmax(f,axis=1)
      'x' 1.5 True False np.int64(1) np.asarray([0,1]) np.ones((2,3),bool) cupy.asarray(1) i[0,1] slice(0,1) slice(i[0,1]) (0,1) None,0,None ...,... [True,False] cupy.asarray(9) cupy.asarray([9]) cupy.asarray([-9]) cupy.asarray(1.5) u""".split()),
    "z[()]", "z[...]", "z[None]", "z[0]", "z[True]", "z[:]", "e[0]", "e[0:0]", "f[0][1]", "[x for x in f]", "list(f[0])", "iter(z)", "2 in i", "f[0].base is f, f.base",
    *(f"f.__setitem__({how}), f" for how in """0,5 (0,1),2.5 (...,0),9 slice(None),1 0,[1,2,3] 0,[1,2] 0,f[1] 0,f 0,d[1] 0,i[1] 0,np.ones(3) 0,np.float64(2) b,0 f>0,0 f>0,[1] b,f[b] b,f [0,1],0 [0,5],0 i%2,1 5,1 (0,0,0),1
      (0,0),np.ones(()) (0,0),z (0,0),1j 0,None 0,'x' cupy.asarray(0),7 (slice(None),[0,2]),0 np.asarray([0]),3 0,cupy.asarray([1,2,3],'complex64') ...,np.ones((2,3))""".split()),
    "i.__setitem__(0, 2.5), i", "u.__setitem__(0, 300), u", "u.__setitem__(0, -1), u", "i.__setitem__(0, f[0]), i", "z.__setitem__((), 3), z", "z.__setitem__(..., 3), z", "cupy.broadcast_to(f[0], (2, 3)).__setitem__(0, 1)",
    # Operators beside strangers
    *(f"f {sign} {x}" for sign in ("+", "*", "@", "==", "<") for x in STRANGERS),
    *(f"{x} {sign} f" for sign in ("+", "*", "==") for x in STRANGERS),
    "np.multiply(f, 2)", "np.exp(f)", "np.add(f, f)", "np.sum(f)", "np.concatenate([f, f])", "np.matmul(f, f.T)", "np.where(b, f, 0)", "np.add.reduce(f)", "np.ones_like(f)", "np.mean(f, axis=0)", "np.shape(f), np.ndim(f)", "np.asanyarray(f)",
    "np.add(f, 1, out=np.ones((2, 3)))", "np.allclose(f, f)", "np.testing.assert_array_equal(f, f)", "np.isscalar(z)", "np.float32(2) * f, np.float64(2) * h", "np.float64(2) @ f", "np.ones((2, 3)) * f", "np.asarray([1, 2, 3]) + z", "-f, +f, abs(f), ~b, ~i, ~u",
    "~f", "-b", "b + b, b * b", "b - b", "u - 1, u + 1", "-u", "f ** 2, f ** 0.5, i ** 2, 2 ** f", "i ** -1", "f // 2, f % 2, i // 2, divmod(i, 2)", "i << 1, i >> 1, i & 1, i | 1, i ^ 1", "f & 1", "f < 1, f >= f[0], f == 0, f != f", "f < 'x'", "f == None, f != None",
    "f and 1", "bool(z), bool(e[:, 0].sum()), bool(cupy.zeros((1, 1)))", "bool(e)", "bool(f)", "float(z), int(z), complex(z)", "float(f)", "int(n[0, 1])", "operator.index(i[0, 1])", "range(i[0, 1])", "round(z, 1)", "round(z)", "math.floor(z)", "f'{z:.2f}', f'{z}'", "f'{f:.2f}'", "str(f), repr(f), str(z), repr(z)",
    "hash(z)", "not z", "len(f), len(e)", "len(z)", "sum(f)", "max(f[0])", "sorted(f[0])", "z.item(), f[0, 1].item(), i[0, 1].item(), b[0, 0].item()", "type(z.item()), type(i[0, 1].item()), type(b[0, 0].item())",
    # Making
    "cupy.zeros(3)", "cupy.zeros((2, 0), 'float32')", "cupy.zeros(-1)", "cupy.ones(2, bool)", "cupy.full(2, 3)", "cupy.full(2, 3.0)", "cupy.full((2,), True)", "cupy.full(2, 300, 'uint8')", "cupy.full(2, f[0, 0])", "cupy.full(2, np.ones(2))", "cupy.eye(2)", "cupy.eye(2, 3, dtype='float32')", "cupy.identity(2)",
    "cupy.arange(3)", "cupy.arange(0, 1, 0.25)", "cupy.arange(3, dtype='float32')", "cupy.arange(3, 0)", "cupy.linspace(0, 1, 3)", "cupy.linspace(0, 1, 3, dtype='float32')", "cupy.tri(2)", "cupy.indices((2, 2))", "cupy.empty((2, 3)).shape", "cupy.full_like(f, 2), cupy.full_like(i, 2.5)", "cupy.zeros_like(b), cupy.ones_like(f, dtype='int8')", "cupy.empty_like(f).dtype",
    *(f"cupy.asarray({x})" for x in """1 1.5 True 1j [1,2] [1.5,2] [True] [[1,2],[3]] [] [[]] None 'x' ['x'] [None] [f[0],f[1]] [z,z] [f[0],1] [z,1] [np.ones(2),np.ones(2)] [f[0],np.ones(3)] np.ones(2,'>f4') np.ones(2,'f2') np.ones(2,'S1') np.ones(2,object) np.zeros(2,'i4,i4') np.zeros(1,'M8[s]')
      np.ones(2)[::-1] np.float32(2) np.ones((2,3)).T 2**70 [2**70] range(3) (1,2) {1} b'x' bytearray(b'x') memoryview(b'x') np.ma.masked_array([1,2],[0,1]) np.matrix([[1]])""".split()),
    "cupy.asarray(f) is f, cupy.array(f) is f, cupy.array(f, copy=False) is f, cupy.asarray(f, dtype='float32') is f, cupy.asarray(f, copy=True) is f", "cupy.asarray(f, dtype='float64')", "cupy.asarray(f, 'int32')", "cupy.asarray(n, 'int32').shape", "cupy.asarray(np.ones(2), copy=False)", "cupy.asarray(f, dtype='float64', copy=False)", "cupy.array([1, 2], 'float32', ndmin=2)", "cupy.array(f, ndmin=3)",
    "cupy.asarray(np.ones((2, 3)).T).strides, cupy.asarray(np.ones((4, 6))[::2, ::2]).strides", "cupy.array(np.broadcast_to(np.ones(3), (2, 3))).strides", "cupy.array(np.asfortranarray(np.ones((2, 3))), blocking=True).strides", "cupy.array(np.ones((2, 3), 'uint8'), dtype='float32')", "cupy.array(np.zeros((0, 3)))",
    "xp.asarray([1, 2])", "xp.asarray(np.ones(2))", "xp.asarray(np.ones(2), copy=True)", "xp.asarray(np.ones(2), copy=False)", "xp.asarray(f, copy=False) is f, xp.asarray(f) is f", "xp.asarray(f, copy=True)", "xp.asarray(f, dtype=xp.float64, copy=False)", "xp.asarray(1.5, dtype=xp.float32)", "xp.asarray([1.5], device=f.device)", "xp.asarray(f, device=f.device) is f", "xp.asarray(1, device='cpu')", "xp.asarray(1, device=0)",
    "xp.zeros(2)", "xp.zeros(2, dtype=xp.float32, device=f.device)", "xp.zeros(2, device='cpu')", "xp.full(2, 1.5, device=f.device)", "xp.arange(3, device=f.device)", "xp.linspace(0, 1, 3, device=f.device)", "xp.eye(2, device=f.device)", "xp.ones_like(f, device=f.device)", "xp.empty(0).shape", "xp.arange(3.0)",
    "xp.astype(f, xp.float64)", "xp.astype(f, xp.float32) is f, xp.astype(f, xp.float32, copy=False) is f", "xp.astype(f, xp.bool)", "xp.astype(f, xp.float16)", "xp.astype(f, xp.float64, device=f.device)", "xp.astype(u, xp.float32, copy=False)", "xp.astype(h * 60000, xp.float16)", "xp.can_cast(xp.float64, xp.float32), xp.result_type(f, d), xp.result_type(u, 1), xp.result_type(f, 1.0)", "xp.finfo(xp.float32).eps, xp.iinfo(xp.uint8).max, cupy.finfo(f.dtype).max",
    "compat.device(f) == f.device, compat.size(f), compat.is_cupy_array(f), compat.is_array_api_obj(f), compat.is_writeable_array(f), compat.is_lazy_array(f)", "type(compat.to_device(f, 'cpu')).__name__", "compat.to_device(f, f.device) is f", "compat.to_device(f, 0)", "compat.array_namespace(f, np.ones(2))", "compat.array_namespace(f, 1.0) is xp", "xp.__array_namespace_info__().default_device()", "[d for d in xp.__array_namespace_info__().devices()][:1]",
    # To the host
    "f.get(), z.get(), e.get(), b.get()", "type(z.get()), z.get().shape, cupy.asnumpy(z)", "f.T.get().strides, f.get(order='F').strides, cupy.asnumpy(f.T).strides, f[:, ::2].get().strides, f[::-1].get().strides", "f.get(out=np.empty((2, 3), 'float32'))", "f.get(out=np.empty((3, 2), 'float32'))", "f.get(out=np.empty((2, 3)))", "cupy.asnumpy(f, out=np.empty((2, 3), 'float32'))", "cupy.asnumpy([1, 2]), cupy.asnumpy(1.5)", "f.get().flags.writeable, f.get().flags.owndata",
    "np.asarray(f, dtype='float32')", "np.array(f)", "np.array([z, z])", "np.float32(z)", "np.from_dlpack(f)", "memoryview(f)", "bytes(f)", "f.__dlpack_device__()", "sorted(f.__cuda_array_interface__)", "f.__array_namespace__()", "f.device, f.device.id, f.device == cupy.cuda.Device(0)", "f.to_device('cpu')",
    "pickle.loads(pickle.dumps(f))", "pickle.loads(pickle.dumps(f.T)).strides", "copy.copy(f)", "copy.deepcopy(f.T).strides", "copy.deepcopy(f) is f", "f.__class__.__module__, type(f).__name__", "f.flags.c_contiguous, f.flags.f_contiguous, f.flags.owndata, f[0].flags.owndata", "f.flags.writeable", "f.ctypes", "f.size, z.size, e.size, f.nbytes, f.itemsize", "setattr(f, 'shape', (3, 2)), f", "setattr(f, 'shape', (4, 2))", "setattr(f, 'dtype', 'int32')", "setattr(f, 'flavour', 1)", "vars(f)",
    # Devices, streams, memory
    "cupy.cuda.Device().id, cupy.cuda.Device(0).id, cupy.cuda.get_device_id()", "cupy.cuda.Device(99).use()", "cupy.cuda.Device(99).__enter__()", "cupy.cuda.Device(99).synchronize()", "cupy.cuda.Device(0).synchronize(), cupy.cuda.Device(0).use()", "cupy.cuda.runtime.setDevice(99)", "cupy.cuda.runtime.getDevice()", "cupy.cuda.is_available(), cupy.is_available()", "cupy.cuda.Device(0) < cupy.cuda.Device(1)", "{cupy.cuda.Device(0)}", "{cupy.cuda.Stream.null: 1}.keys() == {cupy.cuda.get_current_stream()}",
    "cupy.cuda.Stream().device_id, cupy.cuda.Stream.null.device_id, cupy.cuda.Stream.null.ptr", "cupy.cuda.Stream(non_blocking=True) == cupy.cuda.Stream(non_blocking=True)", "cupy.cuda.get_current_stream() == cupy.cuda.Stream.null", "cupy.cuda.Stream().synchronize()", "cupy.cuda.Stream().record().synchronize()", "cupy.cuda.Stream.null.wait_event(cupy.cuda.Stream().record())", "cupy.cuda.Event().synchronize()",
    "cupy.empty(2**60, 'uint8')", "cupy.zeros((2**40, 2**40))", "cupy.cuda.alloc(0).device_id, cupy.cuda.alloc(10).mem.size", "cupy.get_default_memory_pool().get_limit()", "cupy.get_default_memory_pool().set_limit(), cupy.get_default_memory_pool().get_limit()", "cupy.get_default_memory_pool().malloc(10).mem.size", "e.data.mem.size, f.data.mem.size, f[1:].data.mem.size, f.data.device_id",
    # Elementwise
    *(f"cupy.{name}({x})" for name in UNARY for x in "fhiubez"),
    *(f"cupy.{name}({pair.replace(',', ', ', 1)})" for name in BINARY for pair in PAIRS),
    *(f"xp.{name}(f)" for name in ("exp", "abs", "sign", "isnan", "floor", "ceil", "round", "square", "bitwise_invert", "logical_not")),
    *(f"xp.{name}({x})" for name in ("floor", "ceil", "round", "sign", "abs", "exp") for x in "iub"),
    *(f"xp.{name}(f, f[0])" for name in ("add", "divide", "maximum", "pow", "equal", "logical_and", "atan2")),
    *(f"xp.{name}(f, {y})" for name in ("add", "maximum", "minimum", "where") for y in ("2", "0.5", "None", "np.ones(3)")),
]  # fmt: skip

SAYS = 200


def arrays(cupy):
    """What the questions are about, new for each."""
    f = np.asarray([[-1.5, 0, 2], [3, 0.5, -0.25]], "float32")
    given = {"f": f, "d": f.astype("float64"), "h": f.astype("float16"), "n": np.where(f == 0, np.nan, f)}
    given |= {"i": np.arange(6).reshape(2, 3), "u": np.arange(6, dtype="uint8").reshape(2, 3), "b": f > 0}
    given |= {"e": np.zeros((0, 3), "float32"), "z": np.float32(1.5)}
    return {name: cupy.array(host, blocking=True) for name, host in given.items()}


def described(found, names, cupy):
    """A result in words: an array's dtype, shape, numbers to four digits, and whose memory it shares."""
    if isinstance(found, (tuple, list)):
        return f"{type(found).__name__}({', '.join(described(part, names, cupy) for part in found)})"
    if not isinstance(found, (cupy.ndarray, np.ndarray)):
        return repr(found).replace(str(id(found)), "id")
    host = cupy.asnumpy(found)
    numbers = np.array2string(host, formatter={"float": "{:.4g}".format}, separator=", ").replace("\n", "")
    said = f"{type(found).__module__.partition('.')[0]} {host.dtype} {host.shape} {numbers}"
    if isinstance(found, cupy.ndarray):
        sharing = [name for name, x in names.items() if found.size and x.size and cupy.may_share_memory(found, x)]
        said += "".join(f" of {name}" for name in sharing)
    return said


def answer(question):
    """What CuPy says: a result, or an error's first line."""
    import array_api_compat as compat
    import array_api_compat.cupy as xp
    import cupy

    names = arrays(cupy)
    modules = {"cupy": cupy, "xp": xp, "compat": compat, "np": np, "operator": operator}
    modules |= {"pickle": pickle, "copy": copy, "math": __import__("math")}
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = described(eval(question, modules | names), names, cupy)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:SAYS]
    return "; ".join([found, *(f"{w.category.__name__}: {w.message}" for w in warned)])


if __name__ == "__main__":
    import cupy

    properties = {"cupy": cupy.__version__, "answers": {question: answer(question) for question in QUESTIONS}}
    json.dump(properties, sys.stdout, indent=0)
