"""The catalogue itself: what is where, under which licence, in which units, and which bytes we know it to be.

Checksums come from files we hold (rMD17, 3BPA, acetylacetone) or from the publisher (QM9, figshare); None where neither
is the case, and then a download is refused unless it is accepted explicitly.
"""

from __future__ import annotations

from dataclasses import dataclass

RMD17_URL = "https://raw.githubusercontent.com/andersx/rmd17-npz/HEAD/rmd17-npz/"
BOTNET_URL = "https://raw.githubusercontent.com/davkovacs/BOTNet-datasets/HEAD/"
GDML_URL = "http://www.quantum-machine.org/gdml/data/npz/"


@dataclass(frozen=True)
class RemoteFile:
    """One file to download. checksum : "sha256:…" or "md5:…"; None when unknown."""

    url: str
    checksum: str | None = None

    @property
    def name(self) -> str:
        """File name in the cache."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class CatalogEntry:
    """A public data set. The first file holds the frames; the others belong beside it (isolated atoms).

    member : file to take out of the first file when that is a zip archive
    """

    description: str
    licence: str
    citation: str
    energy_unit: str
    length_unit: str
    files: tuple[RemoteFile, ...]
    member: str | None = None


_RMD17_SHA256 = {
    "aspirin": ("d460f0e43a1a9411b55cdcd9cdbeb9466ae62851ac91392516ab88e4ebc68143",
                "a3c3b61e782d01e6dd649a126004903f7873e8e7ee5034135abfdb8873be711d"),
    "benzene": ("6e69deb5dc8663c2d2461cc50e522c74742acea7b4185da348fc08585a15cdc7",
                "4aad4aa2f5ae6aa78d2d9f5da7cb285c97864cfbdf054b67de12a1429b249534"),
    "ethanol": ("096946747b8d9dcfa042b44f8debbd3da387dfe1586b659e3be789cc4927316a",
                "c3594a0f93d5992e02f9eb671392fb2e5021b3fa4f902417886966d1e4f64e1e"),
    "malonaldehyde": ("95723385cdfd7f8446a84cdff607f14901e4c2b3949db7a965147dc5098d8ee1",
                      "147404574d4fe3204dea7eb3799426d264e36b7900012f27fd2d26a26832fdaf"),
    "naphthalene": ("940f41110785fb0d3fa5feac68800cf4c68bd05fd55d563d3adacf5247d7688a",
                    "80a19bca6aaa5cdf241007d6a7332e7b96a8e6ef362c1badcdb86a574ac3fe06"),
    "salicylic": ("9f96d79ec7a66dec666dbba60307c083ede80ecc919e0c9513ad9accfe43b5c0",
                  "4a03f66c719d7684f39620b2bae6842613482a86cdd4e6f95115ae4d37f03cc0"),
    "toluene": ("24d0642f897a1da1fdc4dbdd0a9c2a7f6082dd88e02954b12896a45a7a5fbac7",
                "8a658b9bf1b7a5c1abaa03846ee6302725e02bdcd2ab720ef94da0be55625faa"),
    "uracil": ("e1d450430362e3bebdeea96b24501f5e56a5a8af1eb02d50cb763f48b51523cf",
               "ceda757f7670d97080ec3c28dfb559aeb8ca54f49e7f0da0682fa1eb5ac00907"),
}
"""Molecule -> checksums of train_01 and test_01."""

_BOTNET_SHA256 = {
    "3bpa_300K": ("dataset_3BPA/train_300K.xyz", "d109971fab90e2231ad931a83eb704c8d940f5c7d7a8de27fe3b84ea18634c0a"),
    "3bpa_mixedT": ("dataset_3BPA/train_mixedT.xyz",
                    "bc108532964b2ed259eaaabf82e5dfaffa5bda9ac384fc2afabcce192a49250b"),
    "3bpa_test_300K": ("dataset_3BPA/test_300K.xyz", None),
    "3bpa_test_600K": ("dataset_3BPA/test_600K.xyz", None),
    "3bpa_test_1200K": ("dataset_3BPA/test_1200K.xyz", None),
    "acac_300K": ("dataset_acac/train_300K.xyz", "8f5706d6902360555a5be59395612d2afc3489a75688388a58e7275fdad68af3"),
    "acac_600K": ("dataset_acac/train_600K.xyz", "180c2538508f7810a623c279426f44953ee7cfb2af77e48ea3986ff97645a71c"),
    "acac_test_300K": ("dataset_acac/test_MD_300K.xyz",
                       "2291f3186a3cc6a5e05e92952c84a9237ca53f862d78fd3316a769360719ec43"),
    "acac_test_600K": ("dataset_acac/test_MD_600K.xyz",
                       "d5a5bba154ec43f915eb7529f86ec3af60e6f911743859daba030181a0378ff7"),
}
"""Name -> path in davkovacs/BOTNet-datasets and checksum."""

_ISOLATED = {
    "3bpa": RemoteFile(BOTNET_URL + "dataset_3BPA/iso_atoms.xyz",
                       "sha256:e12a2465a2612bf38fd5dabdf64d4b57fc58ce9610a858c54ea1142d517c053f"),
    "acac": RemoteFile(BOTNET_URL + "dataset_acac/isolated_atoms.xyz",
                       "sha256:b74f321b453374621b447d65c60979f70df1b7182c8ee0215388b2c574f33823"),
}

_MD17_MOLECULES = ("aspirin", "benzene2017", "ethanol", "malonaldehyde", "naphthalene", "salicylic", "toluene",
                   "uracil")
_CCSD_SETS = {"aspirin": "ccsd", "benzene": "ccsd_t", "ethanol": "ccsd_t", "malonaldehyde": "ccsd_t",
              "toluene": "ccsd_t"}


def _sha256(digest: str | None) -> str | None:
    return None if digest is None else f"sha256:{digest}"


def _rmd17() -> dict[str, CatalogEntry]:
    entries = {}
    for molecule, digests in _RMD17_SHA256.items():
        for part, suffix, digest in zip(("train", "test"), ("", "_test"), digests, strict=True):
            entries[f"rmd17_{molecule}{suffix}"] = CatalogEntry(
                f"revised MD17, {molecule}, PBE/def2-SVP, {part} frames of split 01 (1,000)", "CC0-1.0",
                "Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020)", "kcal/mol", "Å",
                (RemoteFile(f"{RMD17_URL}rmd17_{molecule}_{part}_01.npz", _sha256(digest)),))
    return entries


def _botnet() -> dict[str, CatalogEntry]:
    about = {"3bpa": ("3-(benzyloxy)pyridin-2-amine, ωB97X/6-31G(d)",
                      "Kovács et al., J. Chem. Theory Comput. 17, 7696 (2021)"),
             "acac": ("acetylacetone, PBE+D3/def2-SVP", "Batatia et al., arXiv:2205.06643")}
    entries = {}
    for name, (path, digest) in _BOTNET_SHA256.items():
        family = name.split("_")[0]
        description, citation = about[family]
        entries[name] = CatalogEntry(f"{description}, {path.rsplit('/', 1)[-1]}", "MIT", citation, "eV", "Å",
                                     (RemoteFile(BOTNET_URL + path, _sha256(digest)), _ISOLATED[family]))
    return entries


def _gdml() -> dict[str, CatalogEntry]:
    entries = {}
    for molecule in _MD17_MOLECULES:
        entries[f"md17_{molecule}"] = CatalogEntry(
            f"MD17, {molecule}, PBE+vdW-TS trajectory (energies noisy, prefer rMD17)", "not stated by the publisher",
            "Chmiela et al., Sci. Adv. 3, e1603015 (2017)", "kcal/mol", "Å",
            (RemoteFile(f"{GDML_URL}md17_{molecule}.npz"),))
    for molecule, method in _CCSD_SETS.items():
        for part, suffix in (("train", ""), ("test", "_test")):
            level = "CCSD" if method == "ccsd" else "CCSD(T)"
            entries[f"sgdml_{molecule}{suffix}"] = CatalogEntry(
                f"sGDML, {molecule}, {level}, {part} frames", "not stated by the publisher",
                "Chmiela et al., Nat. Commun. 9, 3887 (2018)", "kcal/mol", "Å",
                (RemoteFile(f"{GDML_URL}{molecule}_{method}.zip"),), member=f"{molecule}_{method}-{part}.npz")
    return entries


def _molecules() -> dict[str, CatalogEntry]:
    return {
        "qm9": CatalogEntry(
            "QM9, 133,885 relaxed molecules of H C N O F, B3LYP/6-31G(2df,p): U0, U, H, G, U0_atomization …",
            "CC0-1.0", "Ramakrishnan et al., Sci. Data 1, 140022 (2014)", "Hartree", "Å",
            (RemoteFile("https://ndownloader.figshare.com/files/3195389/dsgdb9nsd.xyz.tar.bz2",
                        "md5:ad1ebd51ee7f5b3a6e32e974e5d54012"),)),
        "qm7": CatalogEntry(
            "QM7, 7,165 molecules of H C N O S, PBE0 atomisation energies", "not stated by the publisher",
            "Rupp et al., Phys. Rev. Lett. 108, 058301 (2012)", "kcal/mol", "Bohr",
            (RemoteFile("http://quantum-machine.org/data/qm7.mat"),)),
    }


CATALOG: dict[str, CatalogEntry] = {**_rmd17(), **_botnet(), **_gdml(), **_molecules()}
"""Name after `catalog:` -> entry."""
