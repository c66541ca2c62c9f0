"""The words of `nano`: names, things, places, countries with their capitals, and plain English.

Every word below is one token of the embedded model's tokenizer; any other word falls back to characters.
The capitals are common knowledge (one-word countries and capitals only); the lists are ours.
"""


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


NAMES = words(
    """
    Adam Alan Alex Alice Amy Andrew Angela Anna Anthony Barbara Ben Betty Bob Brian Carl Carol
    Charles Chris Clara Daniel David Diana Donald Edward Ella Emily Emma Eric Eva Frank Fred George
    Grace Greg Hannah Harry Helen Henry Ian Jack Jacob James Jane Jason Jeff Jennifer Jessica Jim
    Joe John Jose Joseph Julia Karen Kate Kelly Kevin Laura Leo Lily Linda Lisa Lucy Luke Maria Mark
    Martin Mary Matthew Max Michael Mike Nancy Nick Nina Olivia Oscar Patrick Paul Peter Rachel
    Richard Robert Rose Ryan Sam Sandra Sara Sarah Scott Simon Sophie Stephen Steven Susan Ted
    Thomas Tim Tom Victor William
    """
)
THINGS = words(
    """
    apple bag ball banana basket bell bike blanket book boot bottle bowl box bread brush bucket
    button cake camera candle candy cap card carpet chain chair clock coat coffee coin comb cookie
    cup dish drink drum egg fan flag flower fork glass glove guitar hammer hat helmet jar jacket
    juice kettle key kite knife ladder lamp lemon letter lock magazine map marker milk mirror mug
    nail needle newspaper notebook orange paint pan paper pear pen pencil phone piano pillow pin
    plate pot purse puzzle radio ring rope ruler scarf shirt shoe shovel soap sock spoon stamp stick
    stone suitcase table tape tea tent ticket tie torch towel toy umbrella vase wallet watch whistle
    """
)
PLACES = words(
    """
    airport bakery bank beach bridge cafe castle church cinema city farm forest garden gym hospital
    hotel house island kitchen lake library market museum office park port restaurant river road
    school shop square stadium station store street theater tower town village zoo
    """
)
EVENTS = words(
    """
    war voyage trip project siege strike drought festival exhibition journey mission contract plan
    reign dispute conflict expedition famine alliance campaign crisis custom treaty battle truce
    decline rise tour
    """
)
CAPITALS = dict(
    pair.split("-")
    for pair in words(
        """
        Abkhazia-Sukhumi Afghanistan-Kabul Albania-Tirana Algeria-Algiers Angola-Luanda Armenia-Yerevan
        Australia-Canberra Austria-Vienna Azerbaijan-Baku Bahamas-Nassau Bahrain-Manama Bangladesh-Dhaka
        Barbados-Bridgetown Belarus-Minsk Belgium-Brussels Belize-Belmopan Bhutan-Thimphu Bolivia-Sucre
        Bosnia-Sarajevo Botswana-Gaborone Brazil-Brasilia Bulgaria-Sofia Burundi-Gitega Cameroon-Yaounde
        Canada-Ottawa Chile-Santiago China-Beijing Colombia-Bogota Comoros-Moroni Croatia-Zagreb
        Cuba-Havana Cyprus-Nicosia Czechia-Prague Denmark-Copenhagen Dominica-Roseau Ecuador-Quito
        Egypt-Cairo Eritrea-Asmara Estonia-Tallinn Eswatini-Mbabane Fiji-Suva Finland-Helsinki
        France-Paris Gabon-Libreville Gambia-Banjul Georgia-Tbilisi Germany-Berlin Ghana-Accra
        Greece-Athens Guinea-Conakry Guyana-Georgetown Honduras-Tegucigalpa Hungary-Budapest
        Iceland-Reykjavik Indonesia-Jakarta Iran-Tehran Iraq-Baghdad Ireland-Dublin Italy-Rome
        Jamaica-Kingston Japan-Tokyo Jordan-Amman Kazakhstan-Astana Kenya-Nairobi Kosovo-Pristina
        Kyrgyzstan-Bishkek Laos-Vientiane Latvia-Riga Lebanon-Beirut Lesotho-Maseru Liberia-Monrovia
        Libya-Tripoli Liechtenstein-Vaduz Lithuania-Vilnius Madagascar-Antananarivo Malawi-Lilongwe
        Maldives-Male Mali-Bamako Malta-Valletta Mauritania-Nouakchott Moldova-Chisinau
        Mongolia-Ulaanbaatar Montenegro-Podgorica Morocco-Rabat Mozambique-Maputo Myanmar-Naypyidaw
        Namibia-Windhoek Nauru-Yaren Nepal-Kathmandu Netherlands-Amsterdam Nicaragua-Managua
        Niger-Niamey Nigeria-Abuja Norway-Oslo Oman-Muscat Pakistan-Islamabad Paraguay-Asuncion
        Peru-Lima Philippines-Manila Poland-Warsaw Portugal-Lisbon Qatar-Doha Romania-Bucharest
        Russia-Moscow Rwanda-Kigali Samoa-Apia Senegal-Dakar Serbia-Belgrade Seychelles-Victoria
        Slovakia-Bratislava Slovenia-Ljubljana Somalia-Mogadishu Spain-Madrid Sudan-Khartoum
        Suriname-Paramaribo Sweden-Stockholm Switzerland-Bern Syria-Damascus Taiwan-Taipei
        Tajikistan-Dushanbe Tanzania-Dodoma Thailand-Bangkok Togo-Lome Tunisia-Tunis Turkey-Ankara
        Turkmenistan-Ashgabat Tuvalu-Funafuti Uganda-Kampala Ukraine-Kyiv Uruguay-Montevideo
        Uzbekistan-Tashkent Venezuela-Caracas Vietnam-Hanoi Yemen-Sanaa Zambia-Lusaka Zimbabwe-Harare
        """
    )
)
