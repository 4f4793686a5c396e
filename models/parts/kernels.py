"""The programs that compute attention.

xla     every score stands in memory: any mask, precision and device
blocks  XLA's of a block of queries at a time, with the keys that any of them sees: causal attention on CPUs
cudnn   NVIDIA's fused kernel (through `jax.nn`), for floats of 16 bits
splash  JAX's fused kernel for TPUs, for texts of a multiple of 128 tokens

A fused kernel goes through the keys block by block and keeps none of the scores (Dao et al. 2022).  `using` says which
one; outside of it attention is XLA's, and so it is with a cache.

Shapes: B batch, L length of the queries, T length of the keys, N heads, K heads of keys, H head width.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from models.parts.axes import parts, per_device

Kernel = Literal["auto", "xla", "blocks", "cudnn", "splash"]
PLATFORMS = {"cpu": "blocks", "gpu": "cudnn", "cuda": "cudnn", "tpu": "splash"}  # of `auto`, elsewhere it is XLA's
LANES = 128  # numbers side by side in a TPU's registers: blocks are multiples of it
KEPT = "attention"  # what rematerialisation may keep of a kernel calls itself so
BLOCK = 1024  # queries and keys in a block of splash, at most
QUERIES, BLOCKS = 64, 8  # in a block of `blocks`, at least; such blocks in a text, at most
HIDDEN = -0.7 * float(jnp.finfo(jnp.float32).max)  # the score of a key that is not seen, as in jax.nn
Sees = Callable[[jax.Array, jax.Array], jax.Array]  # (query positions, key positions) -> which key a query sees


def causal(query: jax.Array, key: jax.Array) -> jax.Array:
    """Itself and what came before."""
    return key <= query


class Window(NamedTuple):
    """The last `size` positions, its own among them (Child et al. 2019; Jiang et al. 2023)."""

    size: int

    def __call__(self, query: jax.Array, key: jax.Array) -> jax.Array:
        return (key <= query) & (query - key < self.size)


class Seen(NamedTuple):
    """Which keys a query sees: those that `sees` says, that are no padding, and of its own segment."""

    sees: Sees | None = causal  # None: all
    first: int | Int[Array, ""] = 0  # the position of the first query
    keys_BT: Bool[Array, "b t"] | None = None  # False: padding, seen by no query
    segments_BT: Int[Array, "b t"] | None = None
    bias: Float[Array, "1 n l t"] | None = None  # added to the scores
    cached: bool = False

    def mask(self, L: int, T: int) -> Bool[Array, "b 1 l t"] | None:
        """All of it as one array, [B or 1, 1, L or 1, T]; None where all is seen."""
        mask = None if self.keys_BT is None else self.keys_BT[:, None, None]
        if self.segments_BT is not None:
            same = (self.segments_BT[:, :, None] == self.segments_BT[:, None])[:, None]
            mask = same if mask is None else same & mask
        if self.sees is None:
            return mask
        seen = self.sees(self.first + jnp.arange(L)[:, None], jnp.arange(T)[None])[None, None]
        return seen if mask is None else seen & mask

    @property
    def plain(self) -> bool:
        """Whether `sees` says all, of whole texts."""
        return not self.cached and self.keys_BT is None and self.segments_BT is None


class Chosen(NamedTuple):
    name: Literal["xla", "blocks", "cudnn", "splash"] = "xla"
    asked: bool = False  # by name: what it cannot do is refused, and not left to XLA
    posed: bool = False  # the kernel is not here: what takes its place has its inputs and results, for a plan


XLA = Chosen()
_chosen: contextvars.ContextVar[Chosen] = contextvars.ContextVar("attention", default=XLA)


@contextlib.contextmanager
def using(kernel: Kernel, platform: str, posed: bool = False):
    """Within it attention is computed by `kernel` on `platform` (cpu, gpu, cuda, tpu)."""
    best = PLATFORMS.get(platform, "xla")
    if kernel not in ("auto", "xla", best):
        where = {"blocks": "CPUs", "cudnn": "GPUs", "splash": "TPUs"}[kernel]
        here = " or ".join(map(repr, dict.fromkeys(("auto", "xla", best))))
        raise ValueError(f"attention={kernel!r} is for {where}, and this is a {platform}; use {here}")
    chosen = Chosen(best) if kernel == "auto" else Chosen(kernel, kernel != "xla")
    token = _chosen.set(chosen._replace(posed=posed))
    try:
        yield
    finally:
        _chosen.reset(token)


def attend(
    q: Float[Array, "b l n h"], k: Float[Array, "b t k h"], v: Float[Array, "b t k h"], seen: Seen, scale: float | None
) -> Float[Array, "b l n h"]:
    """softmax(scale · q k + bias) v over the keys that are seen; `scale` None is 1 / √H.

    A query that sees no key gives 0, where the softmax over nothing would be the mean of all values.
    """
    name, asked, posed = XLA if seen.cached else _chosen.get()
    if name != "xla" and (reason := REFUSALS[name](q, k, seen)):
        if asked:
            raise ValueError(f"attention={name!r}: {reason}; attention='auto' leaves that to XLA")
        name = "xla"
    mixed = pose(q, k, v) if posed and name != "xla" else COMPUTED[name](q, k, v, seen, scale)
    if seen.keys_BT is None:  # every query sees itself
        return mixed
    mask = seen.mask(q.shape[1], k.shape[1])
    assert mask is not None, "keys are masked"
    return jnp.where(jnp.any(mask, axis=-1)[:, 0, :, None, None], mixed, jnp.zeros_like(mixed))


def xla(q: jax.Array, k: jax.Array, v: jax.Array, seen: Seen, scale: float | None) -> jax.Array:
    if seen.plain and seen.sees is causal and seen.bias is None:
        return jax.nn.dot_product_attention(q, k, v, scale=scale, is_causal=True)
    mask = seen.mask(q.shape[1], k.shape[1])
    return jax.nn.dot_product_attention(q, k, v, bias=seen.bias, mask=mask, scale=scale)


def blocks(q: jax.Array, k: jax.Array, v: jax.Array, seen: Seen, scale: float | None) -> jax.Array:
    """Nearly half of a causal text's scores are never computed, and a block's are used while they are in the cache.

    On a CPU forward and backward take .7 of XLA's time for 256 tokens, .4 for 1,024 (scripts/bench/layers.py).
    """
    L, H = q.shape[1], q.shape[3]
    if L <= QUERIES:
        return xla(q, k, v, seen, scale)
    size = max(QUERIES, 1 << (-(-L // BLOCKS) - 1).bit_length())
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.promote_types(q.dtype, jnp.float32))
    given = {name: getattr(seen, name) for name in ("keys_BT", "segments_BT") if getattr(seen, name) is not None}

    def local(q: jax.Array, k: jax.Array, v: jax.Array, *arrays: jax.Array) -> tuple[jax.Array]:
        mask = seen._replace(**dict(zip(given, arrays, strict=True))).mask(L, L)
        assert mask is not None, "it is causal"
        q_BNLH, k_BNLH, v_BNLH = (jnp.moveaxis(x, 2, 1) for x in (q, k, v))
        k_BNLH, v_BNLH = (jnp.repeat(x, q.shape[2] // k.shape[2], axis=1) for x in (k_BNLH, v_BNLH))
        mixed = []
        for first in range(0, L, size):
            rows, keys = slice(first, first + size), slice(oldest(seen.sees, first), first + size)
            scores = product("bnlh,bnth->bnlt", q_BNLH[:, :, rows], k_BNLH[:, :, keys])
            scores *= H**-0.5 if scale is None else scale
            weights = jax.nn.softmax(jnp.where(mask[:, :, rows, keys], scores, HIDDEN)).astype(v.dtype)
            mixed.append(jnp.einsum("bnlt,bnth->bnlh", weights, v_BNLH[:, :, keys]))
        return (jnp.moveaxis(jnp.concatenate(mixed, axis=2), 1, 2),)

    texts, masks = ("batch", None, "heads", None), (("batch", None),) * len(given)
    (mixed,) = per_device(local, (texts, texts, texts, *masks), (texts,))(q, k, v, *given.values())
    return mixed


def oldest(sees: Sees | None, query: int) -> int:
    """The first key that it sees."""
    return max(0, query - sees.size + 1) if isinstance(sees, Window) else 0


def blocks_refusal(q: jax.Array, k: jax.Array, seen: Seen) -> str:
    if not (seen.sees is causal or isinstance(seen.sees, Window)) or q.shape[1] != k.shape[1]:
        return "blocks are for what is causal, and here a query sees what comes after it, or another text"
    if seen.bias is not None:
        return "blocks add nothing to the scores, and this network adds a bias of positions"
    if parts("length") > 1:
        return f"each of {parts('length')} devices has a part of the length, and blocks are of whole texts"
    return uneven(q, k)


def cudnn(q: jax.Array, k: jax.Array, v: jax.Array, seen: Seen, scale: float | None) -> jax.Array:
    """What `sees` says is the kernel's own; any other mask is an array that it adds to the scores."""
    fused = functools.partial(jax.nn.dot_product_attention, q, k, v, scale=scale, implementation="cudnn")
    bias = None if seen.bias is None else seen.bias.astype(q.dtype)
    if seen.plain and seen.sees is causal:
        return fused(bias, is_causal=True)
    if seen.plain and isinstance(seen.sees, Window):
        return fused(bias, is_causal=True, local_window_size=(seen.sees.size - 1, 0))
    mask = seen.mask(q.shape[1], k.shape[1])
    return fused(bias, None if mask is None else jnp.broadcast_to(mask, (*mask.shape[:2], q.shape[1], k.shape[1])))


def cudnn_refusal(q: jax.Array, k: jax.Array, seen: Seen) -> str:
    if q.dtype not in (jnp.bfloat16, jnp.float16):
        return f"cuDNN's kernel is for floats of 16 bits, and these are {q.dtype} (config.precision)"
    if q.shape[-1] % 8 or q.shape[-1] > 128:
        return f"cuDNN's kernel takes heads of a multiple of 8 up to 128, and theirs is {q.shape[-1]}"
    masked = seen.bias is not None or not (seen.plain and (seen.sees is causal or isinstance(seen.sees, Window)))
    if masked and (q.shape[1] % 2 or k.shape[1] % 2):
        return f"cuDNN's kernel takes a mask of even lengths, and these are {q.shape[1]} and {k.shape[1]}"
    return ""


def splash(
    q: jax.Array, k: jax.Array, v: jax.Array, seen: Seen, scale: float | None, interpret: bool = False
) -> jax.Array:
    """Blocks that no query sees are not visited; segments and padding are compared within blocks."""
    L, T, H = q.shape[1], k.shape[1], q.shape[-1]
    if seen.segments_BT is None and seen.keys_BT is None:
        numbers = ()
    else:
        ones = jnp.ones((len(q), L), jnp.int32)
        queries = ones if seen.segments_BT is None else seen.segments_BT
        keys = jnp.ones((len(k), T), jnp.int32) if seen.segments_BT is None else seen.segments_BT
        numbers = (queries, keys if seen.keys_BT is None else jnp.where(seen.keys_BT, keys, -1))
    q = q * (H**-0.5 if scale is None else jnp.asarray(scale, q.dtype))

    fused = splash_kernel(L, T, q.shape[2] // parts("heads"), seen.sees, interpret)
    arrays, form = jax.tree.flatten(fused)

    def local(q_BLNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array, *rest: jax.Array) -> tuple[jax.Array]:
        from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as library

        numbers, fused = rest[: len(rest) - len(arrays)], jax.tree.unflatten(form, rest[len(rest) - len(arrays) :])
        heads_first = lambda x: jnp.moveaxis(x, 2, 1)
        segments = library.SegmentIds(*numbers) if numbers else None
        with jax.named_scope(blocks_said(L, T, seen.sees)):
            mixed = jax.vmap(fused)(heads_first(q_BLNH), heads_first(k_BTKH), heads_first(v_BTKH), segments)
        return (jnp.moveaxis(mixed, 1, 2),)

    rows, keys = ("batch", "length", "heads", None), ("batch", None, "heads", None)
    numbered = (("batch", "length"), ("batch", None)) if numbers else ()
    # The mask's blocks: [heads, blocks of queries, blocks of keys], and the positions of the queries.
    own = None if seen.sees is None else "length"
    blocks = tuple((None, own, None) if x.ndim == 3 else (own,) for x in arrays)
    (mixed,) = per_device(local, (rows, keys, keys, *numbered, *blocks), (rows,))(q, k, v, *numbers, *arrays)
    return mixed


def splash_kernel(L: int, T: int, heads: int, sees: Sees | None, interpret: bool):
    """The kernel of [N, L, H] queries, [K, T, H] keys and values of one text, whose queries devices may share."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as library
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    if sees is causal:
        mask = masks.CausalMask((L, T))
    elif isinstance(sees, Window):
        mask = masks.LocalMask((L, T), (sees.size - 1, 0), 0)
    else:
        mask = masks.FullMask((L // parts("length"), T))  # the same for every part of the queries
    queries, keys, shares = block(L // parts("length")), block(T), 1 if sees is None else parts("length")
    sizes = library.BlockSizes(
        block_q=queries, block_kv=keys, block_kv_compute=min(keys, 512),
        block_q_dkv=queries, block_kv_dkv=keys, block_kv_dkv_compute=min(keys, 512), use_fused_bwd_kernel=True,
    )  # fmt: skip
    with jax.ensure_compile_time_eval():  # the mask's blocks are constants, also where gradients are taken
        return library.make_splash_mha(
            masks.MultiHeadMask([mask] * heads), block_sizes=sizes, head_shards=1, q_seq_shards=shares,
            residual_checkpoint_name=KEPT, interpret=interpret,
        )  # fmt: skip


def blocks_said(L: int, T: int, sees: Sees | None) -> str:
    """How many blocks the kernel visits, of how many, on the device that visits most.

    The compiled program carries it, for its work to be counted by (train/cost/hlo.py).
    """
    queries, keys = block(L // parts("length")), block(T)

    def visited(row: int, column: int) -> bool:
        """Whether a query of the block sees a key of it: the last query the first key, the first one the last key."""
        if sees is None:
            return True
        near = column * keys <= (row + 1) * queries - 1
        return near and not (isinstance(sees, Window) and row * queries - ((column + 1) * keys - 1) >= sees.size)

    columns, rows = T // keys, L // queries
    each = rows // parts("length")
    most = max(sum(visited(i, j) for i in range(r, r + each) for j in range(columns)) for r in range(0, rows, each))
    return f"visits_{most}_of_{each}x{columns}_blocks"


def block(length: int) -> int:
    """The largest power of two times `LANES` that divides `length`, up to `BLOCK`."""
    size = LANES
    while size < BLOCK and length % (2 * size) == 0:
        size *= 2
    return size


def splash_refusal(q: jax.Array, k: jax.Array, seen: Seen) -> str:
    shares = parts("length")
    if q.shape[1] % (LANES * shares) or k.shape[1] % LANES:
        on_each = f" on each of {shares} devices" if shares > 1 else ""
        return f"splash takes lengths of a multiple of {LANES}{on_each}, and these are {q.shape[1]} and {k.shape[1]}"
    if why := uneven(q, k):
        return why
    if not (seen.sees is None or seen.sees is causal or isinstance(seen.sees, Window)):
        return f"splash knows what is causal, windows, and all; {seen.sees} is none of them"
    if seen.bias is not None:
        return "splash adds nothing to the scores, and this network adds a bias of positions"
    return ""


def uneven(q: jax.Array, k: jax.Array) -> str:
    """Why devices cannot share the heads, where they cannot."""
    if q.shape[2] % parts("heads") or k.shape[2] % parts("heads"):
        return f"heads are split {parts('heads')} ways, and there are {q.shape[2]} of queries and {k.shape[2]} of keys"
    return ""


@jax.custom_vjp
def pose(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """In the place of a kernel, for what a program holds: nothing stands in memory but what goes in and comes out."""
    del k, v
    return q


pose.defvjp(lambda q, k, v: (q, (q, k, v)), lambda kept, g: (g * kept[0], kept[1], kept[2]))

COMPUTED = {"xla": xla, "blocks": blocks, "cudnn": cudnn, "splash": splash}
REFUSALS = {"blocks": blocks_refusal, "cudnn": cudnn_refusal, "splash": splash_refusal}
