"""When the lab's own scripts let an answer pass, in the lab's own words, so that tables compare."""

from shop import Wrong, body_of

NO_ANSWER = "Aucune réponse (erreur ou timeout)"
NO_JSON = "Aucun JSON dans la réponse"


def order_passes(response):
    """Status 201 and an `order_id`."""
    body = body_of(response, NO_ANSWER, NO_JSON)
    if response.status_code != 201:
        raise Wrong(f"Erreur : {response.status_code} - {error_of(body)}")
    if not isinstance(body, dict) or not body.get("order_id"):
        raise Wrong("Aucun ID renvoyé pour la commande créée")
    return body["order_id"]


def report_passes(response):
    """Status 200 and a list."""
    body = body_of(response, NO_ANSWER, NO_JSON)
    if response.status_code != 200:
        raise Wrong(f"Erreur : {response.status_code} - {error_of(body)}")
    if not isinstance(body, list):
        raise Wrong(f"Le resultat n'est pas une liste : {body}")
    return body


def error_of(body):
    """The sentence of an error answer."""
    return body.get("error") if isinstance(body, dict) else body
