"""What colleagues call the same thing: everyday office words of both languages, and words that
say nothing about what is looked for. Pure data, general on purpose: nothing here knows any prompt.
"""

from __future__ import annotations

from kb.search.text import fold

_GROUPS = """
email mail courriel e-mail mél message
contract contrat agreement accord
invoice facture bill facturation
customer client clients
reminder relance rappel
meeting réunion
minutes compte-rendu summary résumé synthèse
summarize summarise résumer synthétiser
letter lettre courrier
translate translation traduire traduction
report rapport
job emploi poste
hire hiring recruit recruitment recruter recrutement embauche
candidate candidat applicant
interview entretien
resume cv curriculum
employee salarié employé collaborateur
employer employeur
training formation
holiday vacation leave congé congés vacances
salary wage salaire paie
sale sales vente ventes
buy purchase achat achats acheter
supplier vendor fournisseur
quote quotation devis
order commande
delivery livraison
complaint réclamation plainte
payment paiement règlement
unpaid overdue impayé impayée
tax taxes impôt fiscal
accounting comptabilité comptable
legal juridique
law droit loi
lease bail rental
confidentiality confidentialité nda
privacy gdpr rgpd
policy politique
risk risque
review relire relecture proofread
correct corriger correction fix
rewrite reformulate reformuler rephrase paraphrase réécrire
write rédiger écrire draft rédaction
spreadsheet excel tableur
presentation slides présentation diaporama powerpoint
chart graph graphique
picture image photo photograph photographie
drawing dessin illustration
video vidéo film movie
website site
code program programme
developer développeur programmer programmeur
bug error erreur
plan planning schedule
project projet
goal objective objectif
task tâche todo
idea ideas idée idées brainstorm
advertisement advert ad publicité annonce
campaign campagne
newsletter bulletin
press presse
announcement annonce communiqué
customer-service support assistance
question questions faq
answer reply réponse répondre
teacher professeur enseignant
student étudiant élève
lesson leçon cours
exam examen
doctor physician médecin docteur
health santé
food meal repas nourriture
recipe recette
cook chef cuisinier
travel trip voyage
weather météo
story tale histoire récit
poem poetry poème poésie
speech discours
joke blague humour
song chanson
game jeu
language langue
english anglais
french français
spelling orthographe
grammar grammaire
price prix tarif
product produit
market marché
company business enterprise entreprise société
startup start-up
lawyer attorney avocat
accountant comptable
manager manageur responsable
polite courteous poli courtois
angry upset mécontent furieux
apologize apologise apology excuses excuser
thank remercier
late delayed retard
decline refuse refuser
data données
database base
security sécurité
"""
SYNONYM_WEIGHT = 0.6
"""A word that means the same counts this much of the word itself."""

_FILLERS = """
help aide aider please stp svp merci need besoin want wants would could should can veux voudrais
peux peut pouvez pourrais faut faire fais fait how comment what quel quelle quels quelles which who
qui why pourquoi where when quand make do does doing did get give me moi mon ma my i je tu vous some
something quelque chose any about sur propos find trouver search chercher cherche looking look let
like try using use utiliser avec way manière façon best good bon bonne thing things someone quelqu
un une est il elle ne pas not no don dont is are am be being has have had plus
prompt prompts chatgpt-prompt
"""
"""Words that people write around what they look for. Dropped only when others remain."""


def _read() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for line in _GROUPS.strip().splitlines():
        group = frozenset(fold(word).replace("-", "") for word in line.split())
        for word in group:
            found[word] = found.get(word, frozenset()) | (group - {word})
    return found


SYNONYMS = _read()
FILLERS = frozenset(fold(_FILLERS).split())


def synonyms(word: str) -> frozenset[str]:
    """Other folded words for a folded word, its plural read as its singular."""
    return SYNONYMS.get(word) or SYNONYMS.get(word.removesuffix("s"), frozenset())
