"""Codes of languages: which of them mean the same language."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xlray.errors import InputError

# ISO 639-1 and ISO 639-3 (which is ISO 639-2's terminological code).
_CODES = """
aa aar, ab abk, ae ave, af afr, ak aka, am amh, an arg, ar ara, as asm, av ava, ay aym, az aze, ba bak,
be bel, bg bul, bi bis, bm bam, bn ben, bo bod, br bre, bs bos, ca cat, ce che, ch cha, co cos, cr cre,
cs ces, cu chu, cv chv, cy cym, da dan, de deu, dv div, dz dzo, ee ewe, el ell, en eng, eo epo, es spa,
et est, eu eus, fa fas, ff ful, fi fin, fj fij, fo fao, fr fra, fy fry, ga gle, gd gla, gl glg, gn grn,
gu guj, gv glv, ha hau, he heb, hi hin, ho hmo, hr hrv, ht hat, hu hun, hy hye, hz her, ia ina, id ind,
ie ile, ig ibo, ii iii, ik ipk, io ido, is isl, it ita, iu iku, ja jpn, jv jav, ka kat, kg kon, ki kik,
kj kua, kk kaz, kl kal, km khm, kn kan, ko kor, kr kau, ks kas, ku kur, kv kom, kw cor, ky kir, la lat,
lb ltz, lg lug, li lim, ln lin, lo lao, lt lit, lu lub, lv lav, mg mlg, mh mah, mi mri, mk mkd, ml mal,
mn mon, mr mar, ms msa, mt mlt, my mya, na nau, nd nde, ne nep, ng ndo, nl nld, no nor, nr nbl, nv nav,
ny nya, oc oci, oj oji, om orm, or ori, os oss, pa pan, pi pli, pl pol, ps pus, pt por, qu que, rm roh,
rn run, ro ron, ru rus, rw kin, sa san, sc srd, sd snd, se sme, sg sag, sh hbs, si sin, sk slk, sl slv,
sm smo, sn sna, so som, sq sqi, sr srp, ss ssw, st sot, su sun, sv swe, sw swa, ta tam, te tel, tg tgk,
th tha, ti tir, tk tuk, tl tgl, tn tsn, to ton, tr tur, ts tso, tt tat, tw twi, ty tah, ug uig, uk ukr,
ur urd, uz uzb, ve ven, vi vie, vo vol, wa wln, wo wol, xh xho, yi yid, yo yor, za zha, zh zho, zu zul
"""
# ISO 639-1 and other codes of it: bibliographic ones of ISO 639-2, withdrawn ones, members of a macrolanguage.
_OTHERS = """
ar acm, ar aeb, ar ajp, ar apc, ar arb, ar ars, ar ary, ar arz, ay ayr, az azb, az azj, bo tib, cs cze,
cy wel, de ger, el gre, et ekk, et vro, eu baq, fa per, fa pes, fa prs, fr fre, he iw, hy arm, id in, is ice,
ka geo, ku ckb, ku kmr, lv ltg, lv lvs, mg plt, mi mao, mk mac, mn khk, ms may, ms zsm, my bur, ne npi,
nl dut, no nb, no nn, no nno, no nob, om gaz, or ory, ps pbt, ps pbu, ps pst, qu quy, qu quz, ro mo, ro mol,
ro rum, sk slo, sq alb, sq aln, sq als, sw swh, tl fil, uz uzn, uz uzs, yi ji, yi ydd, zh chi, zh cmn,
zh wuu, zh yue
"""
_KNOWN = {other: code for code, other in (pair.split() for pair in f"{_CODES},{_OTHERS}".replace("\n", " ").split(","))}
_FORM = re.compile(r"([a-z]{2,3})([-_][a-z0-9]+)*", re.IGNORECASE)

UNNAMED = ("mul", "und", "mis")  # several languages, one that is not known, one without a code


def language_of(code: str) -> str:
    """The language that a code means, as its ISO 639-1 code; one without such a code stays as it is.

    Args:
        code: of ISO 639-1, 639-2 or 639-3, in any case, with or without script and region: "fi", "fin_Latn", "fi-FI".

    Raises:
        InputError: it is no code of a language.
    """
    found = _FORM.fullmatch(code)
    if found is None:
        raise InputError(f"a language must be given by its ISO 639-1 code, such as 'fi', but got {code!r}.")
    base = found[1].lower()
    return _KNOWN.get(base, base)


# Of XTREME-R's fifty languages and a few more.
_NAMES = """
af Afrikaans, ar Arabic, az Azerbaijani, bg Bulgarian, bn Bengali, cs Czech, da Danish, de German, el Greek, en English,
es Spanish, et Estonian, eu Basque, fa Persian, fi Finnish, fr French, gu Gujarati, ha Hausa, he Hebrew, hi Hindi, hr Croatian,
ht Haitian Creole, hu Hungarian, id Indonesian, is Icelandic, it Italian, ja Japanese, jv Javanese, ka Georgian, kk Kazakh,
ko Korean, lt Lithuanian, lv Latvian, ml Malayalam, mr Marathi, ms Malay, my Burmese, nl Dutch, no Norwegian, pa Punjabi,
pl Polish, pt Portuguese, qu Quechua, ro Romanian, ru Russian, se Northern Sami, sk Slovak, sl Slovenian, sr Serbian,
sv Swedish, sw Swahili, ta Tamil, te Telugu, th Thai, tl Tagalog, tr Turkish, uk Ukrainian, ur Urdu, vi Vietnamese, wo Wolof,
yo Yoruba, zh Chinese
"""
_NAME_OF = dict(pair.split(maxsplit=1) for pair in _NAMES.replace("\n", " ").split(","))


def language_name(code: str) -> str:
    """A language in English words; one without a known name stays its code."""
    return _NAME_OF.get(language_of(code), code).strip()


def language_names(codes: Iterable[str]) -> str:
    """Several of them: `Finnish, Estonian and Hungarian`."""
    *some, last = map(language_name, codes)
    return f"{', '.join(some)} and {last}" if some else last
