from __future__ import annotations

import unicodedata

import pytest

from kb.prompts.exchange import content_hash, guess_language


def test_the_same_words_have_the_same_fingerprint():
    assert {
        content_hash("Résume ce contrat.\nMerci"),
        content_hash("  résume   CE contrat.\r\n\r\nmerci\n"),
        content_hash(unicodedata.normalize("NFD", "Résume ce contrat. Merci")),
    } == {"9a6f8e9fb849e50c0c9c3340b91413bc9639dd8dee3fc341acbe0d240e788162"}


def test_other_words_have_another_fingerprint():
    assert content_hash("Résume ce contrat") != content_hash("Resume ce contrat")
    assert len(content_hash("")) == 64


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Summarise this contract for the client and list what should be changed.", "en"),
        ("Résume ce contrat pour le client et dresse la liste des clauses à revoir.", "fr"),
        ("Tu es juriste. Ton rôle est de relire un contrat pour une société.", "fr"),
        (
            "Fasse diesen Vertrag für den Kunden zusammen und nenne die Risiken, die er nicht sieht.",
            "de",
        ),
        ("Resume este contrato para el cliente y enumera los riesgos que no ve.", "es"),
        (
            "Riassumi il contratto per il cliente e i rischi che sono nel testo della proposta.",
            "it",
        ),
        ("Resuma o contrato para o cliente e liste os riscos que você não vê.", "pt"),
        ("Bu sözleşmeyi müşteri için özetle ve her riski bir liste olarak ver.", "tr"),
        ("Vat het contract samen voor de klant en noem een risico dat niet is genoemd.", "nl"),
        ("请为客户总结这份合同并列出风险。", "zh"),
        ("この契約を顧客のために要約してください。", "ja"),
        ("이 계약을 고객을 위해 요약해 주세요.", "ko"),
        ("لخص هذا العقد للعميل واذكر المخاطر.", "ar"),
        ("סכם את החוזה הזה עבור הלקוח.", "he"),
        ("Составь краткое изложение договора для клиента.", "ru"),
        ("Συνόψισε αυτή τη σύμβαση για τον πελάτη.", "el"),
        ("ग्राहक के लिए इस अनुबंध का सारांश दें।", "hi"),
        ("สรุปสัญญานี้ให้ลูกค้า", "th"),
        ("# Python 专家\n请检查 def f(x): return x 这段代码并说明问题所在。", "zh"),
        ("", "und"),
        ("OK", "und"),
        ("cinematic, 8k, golden hour, bokeh, portrait, film grain", "und"),
        ("Стисло виклади цей договір для клієнта.", "und"),
        ("این قرارداد را برای مشتری خلاصه کن.", "und"),
        ("the le and et of des is est with avec", "und"),
    ],
)
def test_a_language_is_guessed_or_left_open(text, language):
    assert guess_language(text) == language
